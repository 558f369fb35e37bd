"""Dataclasses as plain data (lists, strings, integers, booleans, None) and back, by their annotations.

Enough for checkpoints: dataclasses, named tuples, enums, dicts, tuples, lists and optional
values, nested at will. Each of the first two is the list of its fields in order.
"""

import types
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

DERIVED = {"derived": True}
"""Metadata of a field that is not kept but worked out again: it comes back as None."""

_LEAVES = (int, str, bool, bytes, type(None))


def to_plain(value: Any) -> Any:
    """What ``from_plain`` makes ``value`` of again."""
    if type(value) in _LEAVES:
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return [[to_plain(k), to_plain(v)] for k, v in value.items()]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return [to_plain(getattr(value, name)) for name in _names(value.__class__)]


def from_plain(kind: Any, data: Any) -> Any:
    """A value of type ``kind``. Raises ValueError, TypeError or IndexError where ``data`` do not fit it."""
    return _reader(kind)(data)


@cache
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls) if not f.metadata.get("derived"))


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(next(arg for arg in args if arg is not type(None)))
    if origin in (dict, defaultdict):
        return _mapping(origin, *args)
    if origin in (tuple, list):
        return _sequence(origin, args)
    if hasattr(kind, "_fields"):
        return _named_tuple(kind)
    if is_dataclass(kind):
        return _dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _leaf(kind)


def _optional(kind: Any) -> Callable[[Any], Any]:
    return lambda data: None if data is None else _reader(kind)(data)


def _mapping(origin: Any, key: Any, value: Any) -> Callable[[Any], Any]:
    def read(data: Any) -> Any:
        pairs = {_reader(key)(k): _reader(value)(v) for k, v in data}
        return defaultdict(value, pairs) if origin is defaultdict else pairs

    return read


def _sequence(origin: Any, args: tuple[Any, ...]) -> Callable[[Any], Any]:
    def read(data: Any) -> Any:
        fixed = origin is tuple and args[-1] is not Ellipsis
        kinds = args if fixed else (args[0],) * len(data)
        items: list[Any] = [_reader(kind)(item) for kind, item in zip(kinds, data, strict=True)]
        return items if origin is list else tuple(items)

    return read


def _named_tuple(cls: Any) -> Callable[[Any], Any]:
    kinds = get_type_hints(cls)
    return lambda data: cls(*(_reader(kinds[name])(item) for name, item in zip(cls._fields, data, strict=True)))


def _dataclass(cls: Any) -> Callable[[Any], Any]:
    kinds = get_type_hints(cls)

    def read(data: Any) -> Any:
        made: Any = cls.__new__(cls)
        for name, item in zip(_names(cls), data, strict=True):
            object.__setattr__(made, name, _reader(kinds[name])(item))  # frozen ones too
        for derived in fields(cls):
            if derived.metadata.get("derived"):
                object.__setattr__(made, derived.name, None)
        return made

    return read


def _leaf(kind: Any) -> Callable[[Any], Any]:
    def read(data: Any) -> Any:
        if type(data) is not kind:
            raise ValueError(f"{data!r} is no {kind.__name__}")
        return data

    return read
