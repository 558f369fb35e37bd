"""The names and types of decisions' fields, for those who carry them without knowing what they mean."""

import re
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from .decisions import KINDS, Decision

INSTANTS: Final = frozenset({"from_ns", "to_ns", "at_ns", "effective_from_ns", "effective_to_ns"})
"""Fields that are ns since 1970, UTC. Any other ``_ns`` is a length or the clock of a boot."""


def name_of(kind: type[Any]) -> str:
    """HostSet -> host_set: what a kind is called on the wire and in tables."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


KIND_OF: Final[dict[str, type[Decision]]] = {name_of(kind): kind for kind in KINDS}


def types_of(kind: Any) -> dict[str, Any]:
    """The type of each field, by name; of what may be None, the other type."""
    return _types_of(kind)


@cache
def _types_of(kind: Any) -> dict[str, Any]:
    known = get_type_hints(kind)
    return {field.name: _inner(known[field.name]) for field in fields(kind)}


def may_be_none(kind: Any, name: str) -> bool:
    return get_origin(get_type_hints(kind)[name]) is UnionType


def _inner(hint: Any) -> Any:
    return next(each for each in get_args(hint) if each is not type(None)) if get_origin(hint) is UnionType else hint


def parts_of(value: object) -> list[Any] | None:
    """What is in a field that holds several; None: it holds one."""
    return list(value) if isinstance(value, tuple) else None  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
