"""Reading settings: what the file said, over it what the environment said, into one frozen dataclass."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from .settings import ENVIRONMENT, Complaints, Key, Problem, keys_of, make_key, tables_and_keys
from .settings_strays import stray_variables
from .settings_value import WrongValue, as_list, as_table, describe, read_text, read_value, show

T = TypeVar("T")


class Origin(StrEnum):
    """Where a value came from."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Explained:
    """A key, its value in force, and where that came from."""

    key: Key
    value: Any
    origin: Origin


def read_settings(cls: type[T], told: Mapping[str, Any], environment: Mapping[str, str], source: str) -> T:
    """The settings of ``cls``: the environment's word before the file's, the file's before the default.

    ``told`` is the parsed TOML, ``source`` the name of its file for messages.
    ``GPUTALLY_SAMPLING__EVERY_S`` sets ``sampling.every_s``.

    Raises BadSettings with every problem found, in the file and in the environment.
    """
    reading = Complaints(source, environment)
    settings = take_settings(cls, told, reading)
    reading.settle()
    return settings


def take_settings(cls: type[T], told: Mapping[str, Any], reading: Complaints, elsewhere: Collection[str] = ()) -> T:
    """As ``read_settings``, but what is wrong is only noted in ``reading``, and its key has its default.

    For checks across keys, so that one wrong type does not hide all that they would
    find. ``elsewhere``: tables that the environment may name though they are not ours.
    """
    reading.problems += stray_variables(cls, reading.environment, elsewhere)
    settings: T = _read_table(cls, told, "", reading)
    return settings


def explain_settings(settings: object, told: Mapping[str, Any], environment: Mapping[str, str]) -> list[Explained]:
    """Every key of ``settings`` with its origin; arguments as for ``read_settings``."""
    return [
        Explained(key, _value_at(settings, key.name), _origin(key, told, environment))
        for key in keys_of(type(settings))
    ]


def _read_table(cls: type[Any], told: Mapping[str, Any], prefix: str, reading: Complaints) -> Any:
    values: dict[str, Any] = {}
    for name, kind, default in tables_and_keys(cls):
        if is_dataclass(kind):
            values[name] = _read_nested(kind, told.get(name, {}), prefix + name, reading)
        else:
            values[name] = _read_key(make_key(cls, name, prefix, default), name, told, reading)
    for name in told:
        if name not in values:
            what = _unknown(cls, name, list(values))
            reading.problems.append(Problem(reading.source, prefix + name, what))
    return cls(**values)


def _read_nested(cls: type[Any], told: object, name: str, reading: Complaints) -> Any:
    table = as_table(told)
    if table is None:
        reading.refuse_unread(name, f"is {show(told)}, must be a table: write [{name}] and its keys below")
    return _read_table(cls, table or {}, name + ".", reading)


def _read_key(key: Key, name: str, told: Mapping[str, Any], reading: Complaints) -> Any:
    text = reading.environment.get(key.variable)
    if text is None and name not in told:
        if key.required:
            reading.refuse(key.name, f"is missing: it must be {describe(key)}")
        return key.default
    try:
        return _take(key, told[name] if text is None else read_text(key, text), reading)
    except WrongValue as wrong:
        reading.refuse_unread(key.name, str(wrong))
        return key.default


def _take(key: Key, raw: object, reading: Complaints) -> Any:
    if not key.is_array_of_tables:
        return read_value(key, raw)
    items = [as_table(item) for item in as_list(raw) or [None]] if raw != [] else []
    tables = [item for item in items if item is not None]
    if len(tables) < len(items):
        raise WrongValue(f"is {show(raw)}, must be a list of tables: write [[{key.name}]] for each")
    # No variable names a single item, so nothing in the environment counts inside.
    source = ENVIRONMENT if key.variable in reading.environment else reading.source
    inside = Complaints(source, {}, reading.problems)
    return tuple(
        _read_table(key.item_kind, table, f"[[{key.name}]] number {number}: ", inside)
        for number, table in enumerate(tables, 1)
    )


def _unknown(cls: type[Any], name: str, siblings: list[str]) -> str:
    near = get_close_matches(name, siblings, n=1)
    elsewhere = [key.name for key in keys_of(cls) if key.name.split(".")[-1] == name]
    meant = near or elsewhere[:1]
    return f"unknown key; did you mean {meant[0]}?" if meant else f"unknown key; known are {', '.join(siblings)}"


def _origin(key: Key, told: Mapping[str, Any], environment: Mapping[str, str]) -> Origin:
    if key.variable in environment:
        return Origin.ENVIRONMENT
    here: object = dict(told)
    for part in key.name.split("."):
        here = (as_table(here) or {}).get(part)
    return Origin.DEFAULT if here is None else Origin.FILE


def _value_at(settings: object, dotted: str) -> Any:
    for part in dotted.split("."):
        settings = getattr(settings, part)
    return settings
