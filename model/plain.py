"""Dataclasses as plain data (lists, strings, integers, booleans, None) and back, by their annotations.

Enough for checkpoints: dataclasses, named tuples, enums, dicts, tuples, lists
and optional values, nested at will. Each of the first two is the list of its
fields in order. What is to be done for a type is worked out once.
"""

import types
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, Union, get_args, get_origin, get_type_hints

DERIVED = {"derived": True}
"""Metadata of a field that is not kept but worked out again: it comes back as None."""

Step = Callable[[Any], Any]


def to_plain(value: Any) -> Any:
    """What ``from_plain`` makes ``value`` of again. ``value`` is a dataclass or a named tuple."""
    return _form(value.__class__).write(value)


def from_plain(kind: Any, data: Any) -> Any:
    """A value of type ``kind``. Raises ValueError, TypeError or IndexError where ``data`` do not fit it."""
    return _form(kind).read(data)


class _Form:
    """How values of one type are written and read. ``as_is``: they are plain already."""

    def __init__(self, write: Step, read: Step, as_is: bool = False) -> None:
        self.write, self.read, self.as_is = write, read, as_is


@cache
def _form(kind: Any) -> _Form:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(_form(next(arg for arg in args if arg is not type(None))))
    if origin in (dict, defaultdict):
        return _mapping(origin, args[1], _form(args[0]), _form(args[1]))
    if origin in (tuple, list):
        return _sequence(origin, args)
    if hasattr(kind, "_fields"):
        return _named_tuple(kind)
    if is_dataclass(kind):
        return _dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _Form(lambda value: value.value, kind)
    return _leaf(kind)


def _optional(inner: _Form) -> _Form:
    def write(value: Any) -> Any:
        return None if value is None else inner.write(value)

    def read(data: Any) -> Any:
        return None if data is None else inner.read(data)

    return _Form(write, read, inner.as_is)


def _mapping(origin: Any, value_kind: Any, key: _Form, value: _Form) -> _Form:
    write_key, write_value = key.write, value.write

    def write(pairs: Any) -> Any:
        return [[write_key(k), write_value(v)] for k, v in pairs.items()]

    def read(data: Any) -> Any:
        pairs = {key.read(k): value.read(v) for k, v in data}
        return defaultdict(value_kind, pairs) if origin is defaultdict else pairs

    return _Form(write, read)


def _sequence(origin: Any, args: tuple[Any, ...]) -> _Form:
    is_fixed = origin is tuple and args[-1] is not Ellipsis
    forms = [_form(arg) for arg in args if arg is not Ellipsis]
    write_one = forms[0].write

    def write_many(items: Any) -> Any:
        return list(items) if forms[0].as_is else [write_one(item) for item in items]

    def read(data: Any) -> Any:
        among = forms if is_fixed else forms * len(data)
        items: list[Any] = [form.read(item) for form, item in zip(among, data, strict=True)]
        return items if origin is list else tuple(items)

    return _Form(_writing(forms) if is_fixed else write_many, read)


def _writing(forms: list[_Form]) -> Step:
    """Writes so many values in a row. Most are plain already: only the others cost a call."""
    others = [(place, form.write) for place, form in enumerate(forms) if not form.as_is]

    def write(values: Any) -> Any:
        told = list(values)
        for place, write_one in others:
            told[place] = write_one(told[place])
        return told

    return write


def _named_tuple(cls: Any) -> _Form:
    kinds = get_type_hints(cls)
    forms = [_form(kinds[name]) for name in cls._fields]

    def read(data: Any) -> Any:
        return cls(*(form.read(item) for form, item in zip(forms, data, strict=True)))

    return _Form(_writing(forms), read)


def _dataclass(cls: Any) -> _Form:
    kinds = get_type_hints(cls)
    kept = [(f.name, _form(kinds[f.name])) for f in fields(cls) if not f.metadata.get("derived")]
    derived = [f.name for f in fields(cls) if f.metadata.get("derived")]

    fetch, write_all = _fetching([name for name, _ in kept]), _writing([form for _, form in kept])

    def write(value: Any) -> Any:
        return write_all(fetch(value))

    def read(data: Any) -> Any:
        made: Any = cls.__new__(cls)
        for (name, form), item in zip(kept, data, strict=True):
            object.__setattr__(made, name, form.read(item))  # frozen ones too
        for name in derived:
            object.__setattr__(made, name, None)
        return made

    return _Form(write, read)


def _fetching(names: list[str]) -> Step:
    """All of these fields at once, in C where there are several."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _leaf(kind: Any) -> _Form:
    def read(data: Any) -> Any:
        if type(data) is not kind:
            raise ValueError(f"{data!r} is no {kind.__name__}")
        return data

    return _Form(lambda value: value, read, as_is=True)
