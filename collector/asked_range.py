"""A range as the questions about contracts ask it: on the grid of the records, as of a version of the ledger."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from ..storage.projection_reader import Snapshot
from ..storage.projection_spans import TooManySpans
from ..storage.usage_query import Scope
from .instants import format_instant
from .parameters import take_number, take_span
from .problems import BadParameter, Problem
from .rounding import hours
from .tokens import Caller, Role
from .usage_answer import check_as_of, check_range

T = TypeVar("T")
_LARGEST: Final = 2**53


def take_scope(told: Mapping[str, str], seen: Snapshot, who: Caller) -> Scope:
    """The range, ``as_of`` and ``tenant``. Raises BadParameter, and Problem (403) for another's name."""
    as_of = check_as_of(take_number(told, "as_of", 0, 0, _LARGEST) if "as_of" in told else None, seen)
    scope = Scope(take_span(told), as_of, take_tenant(told.get("tenant"), who))
    check_range(scope, seen)
    return scope


def take_tenant(told: str | None, who: Caller) -> str | None:
    """Whose it is to be: the one named, of a tenant always itself. Raises Problem (403)."""
    if who.role is Role.TENANT and told not in (None, who.tenant):
        raise Problem(403, "not-yours", "this token sees one tenant, and the one named is another")
    return who.tenant if who.role is Role.TENANT else told


def bounded(make: Callable[[], T]) -> T:
    """Raises BadParameter for a range whose stretches are too many."""
    try:
        return make()
    except TooManySpans as error:
        raise BadParameter("range_to", f"makes {error}: ask for a shorter range") from None


def header(scope: Scope) -> dict[str, Any]:
    """What every answer of this kind begins with."""
    return {
        "range_from": format_instant(scope.span.start_ns),
        "range_to": format_instant(scope.span.end_ns),
        "as_of": str(scope.as_of),
    }


def shown(ns: int, scale: int) -> dict[str, str]:
    """An amount: hours for people, and the truth."""
    return {"usage": hours(ns, scale), "ns": str(ns)}
