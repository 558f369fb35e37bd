"""Which hosts are expected when: the operator's inventory united with what was seen; and the gaps they declared."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..model.decisions import GapDeclared, HostPhase, HostSet
from ..model.interval import Interval
from .projection_decisions import Stored, decided_in_force
from .projection_reader import Snapshot
from .usage_query import Scope

_ALIVE = (HostPhase.ENROLLED, HostPhase.ACTIVE)


def expected_hosts(snapshot: Snapshot, scope: Scope) -> set[str]:
    """Those whose life touches the span: once seen or enrolled, until retired."""
    first_ns: dict[str, int] = dict(
        # A host whose frames were all lost has no window; it may have had any.
        snapshot.db.execute(
            "SELECT host_id, CASE WHEN rejected_frames > 0 OR host_id IN (SELECT host_id FROM lost) THEN 0"
            " ELSE first_window_ns END AS first FROM host"
            " WHERE first_log_id <= ? AND first IS NOT NULL",
            [scope.as_of],
        ).fetchall()
    )
    registered = registered_hosts(snapshot, scope.as_of)
    return {
        host_id
        for host_id in first_ns.keys() | registered.keys()
        if _is_expected(first_ns.get(host_id), registered.get(host_id, ()), scope.span)
    }


def registered_hosts(snapshot: Snapshot, as_of: int) -> Mapping[str, Sequence[Stored[HostSet]]]:
    """What the inventory says in force of each host, in the order of the log."""
    found: defaultdict[str, list[Stored[HostSet]]] = defaultdict(list)
    for stored in decided_in_force(snapshot, HostSet, as_of):
        found[stored.what.host_id].append(stored)
    return found


def _is_expected(first_window_ns: int | None, told: Sequence[Stored[HostSet]], span: Interval) -> bool:
    enrolled_ns = [each.what.from_ns for each in told if each.what.phase in _ALIVE]
    begins = [*enrolled_ns, *([] if first_window_ns is None else [first_window_ns])]
    return bool(begins) and min(begins) < span.end_ns and not _is_retired(told, span.start_ns)


def _is_retired(told: Sequence[Stored[HostSet]], at_ns: int) -> bool:
    """Enrolled again later in the log, it is not."""
    life = [each.what for each in told if each.what.phase is HostPhase.RETIRED or each.what.phase in _ALIVE]
    return bool(life) and life[-1].phase is HostPhase.RETIRED and life[-1].from_ns <= at_ns


def declared_gaps(snapshot: Snapshot, as_of: int) -> Mapping[str, Sequence[Interval]]:
    """By host, in order of time."""
    found: defaultdict[str, list[Interval]] = defaultdict(list)
    for stored in decided_in_force(snapshot, GapDeclared, as_of):
        found[stored.what.host_id].append(Interval(stored.what.from_ns, stored.what.to_ns))
    return {host_id: sorted(gaps, key=lambda gap: gap.start_ns) for host_id, gaps in found.items()}


def through(watermark_ns: int | None, aside_ns: int | None, gaps: Iterable[Interval], start_ns: int) -> int | None:
    """How far a host's time is complete: its watermark, not beyond what was put aside, and over declared gaps.

    None: it never said, and no gap is declared from ``start_ns`` on, where the span begins.
    """
    reached_ns = watermark_ns if aside_ns is None or watermark_ns is None else min(watermark_ns, aside_ns)
    for gap in gaps:
        at_ns = start_ns if reached_ns is None else reached_ns
        if gap.start_ns <= at_ns < gap.end_ns:
            reached_ns = gap.end_ns
    return reached_ns
