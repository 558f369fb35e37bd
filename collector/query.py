"""What a caller of the usage API asks, as a value; what cannot be asked, as a problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from ..model.interval import Interval
from ..storage.usage_query import Dimension, Key, Meter, Tag
from .grid import Window
from .parameters import choose, take_choice, take_flag, take_number, take_span, take_zone
from .problems import BadParameter

UNIT: Final = "GPU-Hours"
BY_SKU: Final[tuple[Key, ...]] = (Dimension.SKU, Dimension.GPU_MODEL, Dimension.ORG)
_BY_SKU: Final = ",".join(key.value for key in BY_SKU)
PARAMETERS: Final = (
    "range_from",
    "range_to",
    "group_by",
    "window",
    "tz",
    "cycle",
    "meter",
    "unit",
    "scale",
    "strict",
    "as_of",
    "offset",
    "limit",
)
DEFAULT_LIMIT: Final = 100
LARGEST_LIMIT: Final = 1_000
_LARGEST_SCALE: Final = 12
_LATEST_CYCLE: Final = 28
"""The last day that every month has."""
_LONGEST_TAG: Final = 200
_LARGEST: Final = 2**53


@dataclass(frozen=True, slots=True)
class UsageRequest:
    span: Interval
    group_by: tuple[Key, ...]
    as_tenant: bool
    """``tenant`` was asked for by that name, and is answered by it."""
    window: Window
    zone: tzinfo
    cycle: int
    """The day of the month on which a month begins: 1 to 28."""
    meter: Meter
    scale: int
    strict: bool
    as_of: int | None
    offset: int
    limit: int

    @property
    def nested(self) -> bool:
        """The answer of SKUs with their organisations inside, as opposed to a flat list of groups."""
        return self.window is Window.NONE and set(self.group_by) == set(BY_SKU)


def read_request(told: Mapping[str, str]) -> UsageRequest:
    """Raises BadParameter. Whether the range fits the windows in the ledger is seen later."""
    window = take_choice(told, "window", Window.NONE)
    zone = take_zone(told, "tz")
    if zone is not None and window not in (Window.DAY, Window.MONTH):
        raise BadParameter("tz", "applies to days and months: give window=day or window=month with it")
    if "cycle" in told and window is not Window.MONTH:
        raise BadParameter("cycle", "says when months begin: give window=month with it")
    if told.get("unit", UNIT) != UNIT:
        raise BadParameter("unit", f'is "{told["unit"]}", must be {UNIT}')
    group_by, as_tenant = _group_by(told)
    return UsageRequest(
        span=take_span(told),
        group_by=group_by,
        as_tenant=as_tenant,
        window=window,
        zone=zone or UTC,
        cycle=take_number(told, "cycle", 1, 1, _LATEST_CYCLE),
        meter=take_choice(told, "meter", Meter.ALLOCATED),
        scale=take_number(told, "scale", 2, 0, _LARGEST_SCALE),
        strict=take_flag(told, "strict"),
        as_of=take_number(told, "as_of", 0, 0, _LARGEST) if "as_of" in told else None,
        offset=take_number(told, "offset", 0, 0, _LARGEST),
        limit=take_number(told, "limit", DEFAULT_LIMIT, 1, LARGEST_LIMIT),
    )


def _group_by(told: Mapping[str, str]) -> tuple[tuple[Key, ...], bool]:
    names = [name.strip() for name in told.get("group_by", _BY_SKU).split(",")]
    as_tenant = "tenant" in names
    chosen = [_key(name) for name in names]
    if len(set(chosen)) < len(chosen):
        raise BadParameter("group_by", f'is "{told["group_by"]}", which names one key twice')
    return tuple(chosen), as_tenant


def _key(name: str) -> Key:
    if not name.startswith("tag:"):
        return choose(Dimension, "group_by", "org" if name == "tenant" else name)
    key = name.removeprefix("tag:")
    if not 0 < len(key) <= _LONGEST_TAG:
        raise BadParameter("group_by", f"names a tag of {len(key)} characters, must be 1 to {_LONGEST_TAG}")
    return Tag(key)
