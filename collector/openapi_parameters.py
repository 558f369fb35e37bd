"""What the parameters of the API may be, by name, as JSON Schema: the same name means the same everywhere.

The schemas say no more than the code refuses, and no less than a caller must know to be understood.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..storage.usage_query import Meter
from .grid import Window

Json = dict[str, Any]
_LARGEST: Final = 2**53
DATE_TIME: Final[Json] = {"type": "string", "format": "date-time", "example": "2025-06-01T00:00:00Z"}
"""RFC 3339, always with an offset."""
TEXT: Final[Json] = {"type": "string"}
FLAG: Final[Json] = {"type": "boolean", "default": False}


def _whole(at_least: int, at_most: int, default: int | None = None) -> Json:
    told: Json = {"type": "integer", "minimum": at_least, "maximum": at_most}
    return told if default is None else {**told, "default": default}


def _list(pattern: str) -> Json:
    """Names with commas between them."""
    return {"type": "string", "pattern": f"^{pattern}(,{pattern})*$"}


_METERS: Final = "(" + "|".join(meter.value for meter in Meter) + ")"
SCHEMAS: Final[dict[str, Json]] = {
    "range_from": DATE_TIME,
    "range_to": DATE_TIME,
    "oldest": DATE_TIME,
    "at": DATE_TIME,
    "from": DATE_TIME,
    "to": DATE_TIME,
    "usage_key": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "frames": FLAG,
    "offset": _whole(0, _LARGEST, 0),
    "limit": _whole(1, 1_000, 100),
    "as_of": _whole(0, _LARGEST),
    "since": _whole(0, _LARGEST, 0),
    "corrects": _whole(0, _LARGEST),
    "scale": _whole(0, 12, 2),
    "cycle": _whole(1, 28, 1),
    "strict": FLAG,
    "history": FLAG,
    "final": FLAG,
    "window": {"type": "string", "enum": [window.value for window in Window], "default": Window.NONE.value},
    "meter": {"type": "string", "enum": [meter.value for meter in Meter], "default": Meter.ALLOCATED.value},
    "meters": {**_list(_METERS), "default": Meter.ALLOCATED.value},
    "unit": {"type": "string", "enum": ["GPU-Hours"], "default": "GPU-Hours"},
    "exclusions": {"type": "string", "enum": ["hide", "show"], "default": "hide"},
    "tz": {
        "type": "string",
        "pattern": r"^[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}$",
        "example": "Europe/Berlin",
    },
    "group_by": {**TEXT, "example": "sku,gpu_model,org"},
    "after": {"type": "string", "pattern": r"^[0-9]{1,17}\.[0-9]{1,17}\.[0-9]{1,17}$"},
    "billing_period": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$", "example": "2026-10"},
}


def described(parameters: Sequence[str], required: Sequence[str], instead: Mapping[str, Json]) -> list[Json]:
    """``instead``: schemas of parameters that mean something of their own here. A name nobody described is a text."""
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": instead.get(name) or SCHEMAS.get(name, TEXT),
        }
        for name in parameters
    ]
