"""One value of a configuration: what it may be, and what it is when the environment says it as text."""

import math
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast, get_args

from .settings import Key

_YES = {"true", "yes", "on", "1"}
_NO = {"false", "no", "off", "0"}
_LONGEST_SHOWN = 60
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class WrongValue(ValueError):
    """A value that its key cannot take; the text says what it must be."""


def read_value(key: Key, raw: object) -> Any:
    """``raw`` (as TOML gives it) as this key's type. An empty text means none where none is allowed.

    Raises WrongValue, which says what was found and what must be there.
    """
    if key.optional and raw == "":
        return None
    try:
        value = _typed(key.kind, raw)
        _check_limits(key, value)
    except (TypeError, ValueError, OverflowError):
        raise WrongValue(f"is {show(raw)}, must be {describe(key)}") from None
    return value


def _typed(kind: Any, raw: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(raw)
    if kind in _READERS:
        return _READERS[kind](raw)
    items = as_list(raw)
    if items is None:
        raise TypeError
    return tuple(_typed(get_args(kind)[0], item) for item in items)


def as_list(raw: object) -> list[Any] | None:
    """``raw`` if it is a list, else None."""
    return list(cast(Iterable[Any], raw)) if isinstance(raw, list) else None


def as_table(raw: object) -> dict[str, Any] | None:
    """``raw`` if it is a table, else None."""
    return cast(dict[str, Any], raw) if isinstance(raw, dict) else None


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise TypeError
    return raw


def _boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise TypeError
    return raw


def _whole(raw: Any) -> int:
    # True is an int to Python, but nobody who writes a number writes true.
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise TypeError
    return raw


def _number(raw: Any) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool) or math.isnan(raw):
        raise TypeError
    return float(raw)


def _table(raw: Any) -> dict[str, Any]:
    table = as_table(raw)
    if table is None:
        raise TypeError
    return table


_READERS: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    bool: _boolean,
    int: _whole,
    float: _number,
    dict[str, Any]: _table,
}


def _check_limits(key: Key, value: Any) -> None:
    if key.choices and any(each not in key.choices for each in _each(value)):
        raise ValueError
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if key.at_least is not None and value < key.at_least:
        raise ValueError
    if key.at_most is not None and value > key.at_most:
        raise ValueError


def _each(value: Any) -> tuple[Any, ...]:
    return tuple(cast(Iterable[Any], value)) if isinstance(value, tuple) else (value,)


def read_text(key: Key, text: str) -> object:
    """What an environment variable says, as TOML would have said it; ``read_value`` judges it.

    A list is written with commas, or as TOML writes it: ``[{name = "Large"}]``.
    """
    if key.kind is bool:
        return text.lower() in _YES if text.lower() in _YES | _NO else text
    if key.kind in (int, float) or (key.choices and isinstance(key.choices[0], int)):
        return _number_in(text)
    if key.item_kind is None:
        return text
    if text.lstrip().startswith("["):
        return _list_in(text)
    return [part.strip() for part in text.split(",") if part.strip()]


def _number_in(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _list_in(text: str) -> object:
    try:
        return tomllib.loads(f"list = {text}").get("list")
    except tomllib.TOMLDecodeError:
        return text


def describe(key: Key) -> str:
    """What a key may be, for a message and for the reference."""
    if key.choices:
        names = ", ".join(show_choice(choice) for choice in key.choices)
        return f"a list of any of {names}" if key.item_kind else f"one of {names}"
    if key.kind in (int, float):
        return _describe_number(key)
    if key.kind is bool:
        return "true or false"
    if key.item_kind is not None:
        return "a list of texts" if key.item_kind is str else "a list of tables"
    return "text" if key.optional else "text that is not empty"


def _describe_number(key: Key) -> str:
    noun = "a whole number" if key.kind is int else "a number"
    if key.at_least is None:
        return noun
    if key.at_most is None:
        return f"{noun}, at least {key.at_least:g}" + (", or inf" if key.kind is float else "")
    return f"{noun} from {_plain(key.at_least)} to {_plain(key.at_most)}"


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def show_choice(choice: Any) -> str:
    return str(choice.value if isinstance(choice, Enum) else choice)


def show(value: Any) -> str:
    """A value as TOML writes it, cut where it is long."""
    text = to_toml(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def to_toml(value: Any) -> str:
    """A value as TOML writes it; ``none`` for None, which TOML cannot say."""
    plain = to_plain(value)
    items, table = as_list(plain), as_table(plain)
    if items is not None:
        return "[" + ", ".join(map(to_toml, items)) + "]"
    if table is not None:
        return "{" + ", ".join(f"{_toml_name(name)} = {to_toml(item)}" for name, item in table.items()) + "}"
    if isinstance(plain, str):
        return _toml_text(plain)
    return "none" if plain is None else str(plain).lower() if isinstance(plain, bool) else str(plain)


def to_plain(value: Any) -> Any:
    """A value in the terms of TOML and JSON: enumerations, tuples and dataclasses undone."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [to_plain(item) for item in _each(value)]
    if is_dataclass(value):
        return {each.name: to_plain(getattr(value, each.name)) for each in fields(value)}
    return value


def _toml_name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml_text(name)


def _toml_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\u{ord(each):04x}" if each < " " or each == "\x7f" else each for each in escaped) + '"'
