"""Environment variables that were meant for us and miss: a slip there would otherwise be no setting at all."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Any, Final

from .settings import ENVIRONMENT, VARIABLE_PREFIX, Problem, keys_of, tables_and_keys

_OF_KUBERNETES: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT)(_[0-9A-Z_]+)?\Z", re.ASCII)
"""What Kubernetes tells every container of a service that happens to be called gputally-api, -log or -host."""


def stray_variables(
    cls: type[Any], environment: Mapping[str, str], elsewhere: Collection[str] = ()
) -> Iterator[Problem]:
    """A problem for each variable that looks like a key of ``cls`` and is none.

    That is any with a table and two underscores, and any that begins with one of
    our tables and a single one. ``elsewhere`` names the tables of the other process,
    whose variables may stand in the same environment. The rest of what has our
    prefix (``GPUTALLY_TOKEN``) belongs to somebody else.
    """
    known = [key.variable for key in keys_of(cls)]
    tables = [name for name, kind, _ in tables_and_keys(cls) if is_dataclass(kind)]
    for variable in sorted(set(environment) - set(known)):
        if variable.startswith(VARIABLE_PREFIX) and _is_meant(variable, tables, elsewhere):
            yield Problem(ENVIRONMENT, variable, f"names no key; {_cure(variable, known, tables)}")


def _is_meant(variable: str, tables: Collection[str], elsewhere: Collection[str]) -> bool:
    rest = variable.removeprefix(VARIABLE_PREFIX)
    table, double_underscore, _ = rest.partition("__")
    if double_underscore:
        return bool(table) and table.lower() not in elsewhere
    begins = any(rest.startswith(f"{each.upper()}_") for each in tables)
    return begins and not _OF_KUBERNETES.search(variable)


def _cure(variable: str, known: Collection[str], tables: Collection[str]) -> str:
    same_but_underscores = [each for each in known if _joined(each) == _joined(variable)]
    # Without the prefix, which would make anything look alike.
    bare = [each.removeprefix(VARIABLE_PREFIX) for each in known]
    near = get_close_matches(variable.removeprefix(VARIABLE_PREFIX), bare, n=1)
    meant = same_but_underscores or [VARIABLE_PREFIX + each for each in near]
    if meant:
        return f"did you mean {meant[0]}?"
    return f"a table and two underscores come before a key, and the tables are {', '.join(tables)}"


def _joined(variable: str) -> str:
    return variable.replace("__", "_")
