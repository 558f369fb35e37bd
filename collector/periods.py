"""The state of a period: open, provisional, final, sealed; and what keeps it from the next one.

===========  ====================================================================================
open         it is not over by the ledger's time, or no host is known that it could wait for
provisional  it is over, and a host that is expected has not told all of it, nor was the gap declared
final        every expected host has: it may be closed
sealed       it does not change any more
===========  ====================================================================================
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..model.decisions import Decision, PeriodClosed, PeriodSealed
from ..model.interval import Interval
from ..storage.projection_completeness import completeness
from ..storage.projection_decisions import Stored, decided_in_force, last_decided_ns
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Scope
from .completeness import lacking
from .decision_checks import check_decision, sealed_periods, stored_now_ns
from .instants import format_instant
from .problems import Problem
from .usage_answer import check_range


class PeriodState(StrEnum):
    OPEN = "open"
    PROVISIONAL = "provisional"
    FINAL = "final"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Judged:
    state: PeriodState
    missing: Sequence[dict[str, str]] = ()
    """What it waits for: host, interval, and why where waiting does not help."""


def judge(seen: Snapshot, span: Interval) -> Judged:
    if _is_covered(span, sealed_periods(seen)):
        return Judged(PeriodState.SEALED)
    return judge_unsealed(seen, span)


def judge_unsealed(seen: Snapshot, span: Interval) -> Judged:
    lack = completeness(seen, Scope(span, seen.position))
    missing = lacking(span, lack)
    if not lack.hosts or span.end_ns > stored_now_ns(seen, last_decided_ns(seen)):
        return Judged(PeriodState.OPEN, missing)
    return Judged(PeriodState.PROVISIONAL if missing else PeriodState.FINAL, missing)


def check_close(seen: Snapshot, what: Decision) -> None:
    """Raises Problem: 400 for a period that cannot be, 409 for one that is not final, or sealed already."""
    assert isinstance(what, PeriodClosed)
    span = _checked_span(seen, what)
    refuse_unless_final(judge_unsealed(seen, span), span)


def check_seal(seen: Snapshot, what: Decision) -> None:
    """Raises Problem: as ``check_close``, and 409 for a period that was not closed."""
    assert isinstance(what, PeriodSealed)
    span = _checked_span(seen, what)
    if find(seen, PeriodClosed, span) is None:
        raise Problem(409, "not-closed", f"{_words(span)} was not closed: POST /v1/periods/close comes first")
    refuse_unless_final(judge_unsealed(seen, span), span)


def refuse_unless_final(judged: Judged, span: Interval) -> None:
    """Raises Problem (409) that names what is missing."""
    missing = list(judged.missing)
    if judged.state is PeriodState.OPEN:
        why = "no host is known" if missing and not missing[0]["host"] else "it is not over by the ledger's time"
        raise Problem(409, "open-period", f"{_words(span)} is open: {why}", missing=missing)
    if judged.state is PeriodState.PROVISIONAL:
        names = ", ".join(sorted({each["host"] for each in missing}))
        cure = "wait for it, or declare what will not come with POST /v1/gaps"
        raise Problem(409, "incomplete", f"{_words(span)} is not complete: {names}; {cure}", missing=missing)


def find(seen: Snapshot, kind: Any, span: Interval) -> Stored[Any] | None:
    """The decision of this kind about exactly this period that is in force."""
    found = (each for each in decided_in_force(seen, kind) if span_of(each.what) == span)
    return next(found, None)


def span_of(what: Any) -> Interval:
    return Interval(what.from_ns, what.to_ns)


def _checked_span(seen: Snapshot, what: PeriodClosed | PeriodSealed) -> Interval:
    check_decision(seen, what)
    span = span_of(what)
    check_range(Scope(span, seen.position), seen)
    for sealed in sealed_periods(seen):
        if sealed.start_ns < span.end_ns and sealed.end_ns > span.start_ns:
            raise Problem(409, "sealed", f"{_words(span)} overlaps {_words(sealed)}, which is sealed")
    return span


def _is_covered(span: Interval, sealed: Iterable[Interval]) -> bool:
    """By sealed periods one behind the other; ``sealed`` is in order of time."""
    at_ns = span.start_ns
    for each in sealed:
        if each.start_ns <= at_ns < each.end_ns:
            at_ns = each.end_ns
    return at_ns >= span.end_ns


def _words(span: Interval) -> str:
    return f"the period {format_instant(span.start_ns)} to {format_instant(span.end_ns)}"
