"""Which time a decision changes something of: what is sealed may not be among it."""

from dataclasses import fields
from typing import Any, Final

from .decision_fields import INSTANTS
from .decisions import Adjusted, Corrected, Decision, DeviceSwapped, ExclusionSet, GapDeclared, LeaseSet, ReservationSet
from .interval import Interval

_FOREVER_NS: Final = 2**62


def changed_time(old: Decision | None, new: Decision) -> list[Interval]:
    """Where it makes a difference that ``new`` takes the place of ``old``, which has the same key.

    Of a stretch that is only made longer or shorter, no more than that: a lease of a sealed month can be ended later.
    """
    if isinstance(new, Corrected):
        return [_instant(start_ns) for start_ns in sorted({each.window_start_ns for each in new.overlays})]
    if isinstance(new, DeviceSwapped):
        return [_instant(new.at_ns)]  # the one before it stays true: a device comes back, and goes again
    before, after = _reach(old), _reach(new)
    if before and after and _apart_from_time(old) == _apart_from_time(new):
        return _difference(before, after)
    return [span for span in (before, after) if span]


def _reach(what: Decision | None) -> Interval | None:
    """Where its amounts or its leaves are; None: nowhere."""
    if isinstance(what, Adjusted):
        return _instant(what.at_ns)
    if not isinstance(what, ExclusionSet | GapDeclared | LeaseSet | ReservationSet):
        return None
    end_ns = _FOREVER_NS if what.to_ns is None else what.to_ns
    if what.from_ns >= end_ns or (isinstance(what, ExclusionSet) and what.ended):
        return None
    return Interval(what.from_ns, end_ns)


def _apart_from_time(what: Any) -> list[Any]:
    return [getattr(what, field.name) for field in fields(what) if field.name not in INSTANTS]


def _difference(one: Interval, other: Interval) -> list[Interval]:
    """What is in one of them only."""
    if one.end_ns <= other.start_ns or other.end_ns <= one.start_ns:
        return [one, other]
    edges = (one.start_ns, other.start_ns), (one.end_ns, other.end_ns)
    return [Interval(min(pair), max(pair)) for pair in edges if pair[0] != pair[1]]


def _instant(at_ns: int) -> Interval:
    return Interval(at_ns, at_ns + 1)
