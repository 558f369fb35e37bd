"""Settings as dataclasses: each key with its default, what it means, and what it may be.

Pure: what the file and the environment said is handed in. ``read_settings`` (in
settings_read) is whole or raises BadSettings, which names every wrong key at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

VARIABLE_PREFIX = "GPUTALLY_"


def setting(
    default: Any,
    meaning: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Sequence[Any] | None = None,
    required: bool = False,
) -> Any:
    """A key of the configuration: the field of a dataclass that ``read_settings`` fills."""
    rules = {
        "meaning": meaning,
        "at_least": at_least,
        "at_most": at_most,
        "choices": choices,
        "required": required,
    }
    return field(default=MISSING if default is MISSING else default, metadata=rules)


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong place. ``what`` says what is wrong and how to cure it; ``key`` may be empty."""

    source: str
    key: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.key, self.what) if part)


class BadSettings(Exception):
    """A configuration that is refused as a whole; its text is one line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


ENVIRONMENT = "environment"


@dataclass(slots=True)
class Complaints:
    """Problems as they are found, each put to the file or to the environment, whichever said it."""

    source: str
    environment: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list[Problem])
    _unread: set[str] = field(default_factory=set[str], init=False)

    def is_unread(self, key: str) -> bool:
        """Whether the key, or its table, was refused when it was read: its default is nobody's word."""
        return key in self._unread or key.partition(".")[0] in self._unread

    def refuse_unread(self, key: str, what: str) -> None:
        """What was told for the key, or table, cannot be its value."""
        self.refuse(key, what)
        self._unread.add(key)

    def refuse(self, key: str, what: str) -> None:
        """A key that could not be read is refused once: more would be said of its default."""
        if self.is_unread(key):
            return
        variable = variable_name(key)
        if variable in self.environment:
            self.problems.append(Problem(ENVIRONMENT, variable, what))
        else:
            self.problems.append(Problem(self.source, key, what))

    def settle(self) -> None:
        """Raises BadSettings if there is any problem."""
        if self.problems:
            raise BadSettings(self.problems)


@dataclass(frozen=True, slots=True)
class Key:
    """One key as the dataclasses describe it; ``name`` is dotted, ``kind`` is its type without None."""

    name: str
    kind: Any
    optional: bool
    default: Any
    meaning: str = ""
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[Any, ...] = ()
    required: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return variable_name(self.name)

    @property
    def item_kind(self) -> Any:
        """What a list holds; None where this is no list."""
        return get_args(self.kind)[0] if get_origin(self.kind) is tuple else None

    @property
    def is_array_of_tables(self) -> bool:
        """An array of tables whose keys are described, such as [[skus]]."""
        return is_dataclass(self.item_kind)


def variable_name(dotted: str) -> str:
    return VARIABLE_PREFIX + dotted.upper().replace(".", "__")


def keys_of(cls: type[Any], prefix: str = "") -> Iterator[Key]:
    """Every key in order, through nested tables. An array of tables is one key."""
    for name, kind, default in tables_and_keys(cls):
        if is_dataclass(kind):
            yield from keys_of(kind, f"{prefix}{name}.")
        else:
            yield make_key(cls, name, prefix, default)


def tables_and_keys(cls: type[Any]) -> Iterator[tuple[str, type[Any], Any]]:
    """(name, type, default) of each field, types resolved."""
    hints = get_type_hints(cls)
    for described in fields(cls):
        yield described.name, hints[described.name], _default(described)


def make_key(cls: type[Any], name: str, prefix: str, default: Any) -> Key:
    """The key that this field of ``cls`` describes."""
    described = next(each for each in fields(cls) if each.name == name)
    hint = get_type_hints(cls)[name]
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    optional = NoneType in get_args(hint)
    rules: Mapping[str, Any] = described.metadata
    kind = kinds[0] if optional else hint
    return Key(
        prefix + name,
        kind,
        optional,
        default,
        rules.get("meaning", ""),
        rules.get("at_least"),
        rules.get("at_most"),
        tuple(rules.get("choices") or _members(kind)),
        rules.get("required", False),
    )


def _members(kind: Any) -> tuple[Any, ...]:
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def _default(described: Field[Any]) -> Any:
    if described.default_factory is not MISSING:
        return described.default_factory()
    return None if described.default is MISSING else described.default
