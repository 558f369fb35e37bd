"""Time that is not charged: which part of what was had lies in exclusions. Exact; no instant is excluded twice.

Where exclusions overlap, the one decided first takes the time. Of a record that an exclusion covers in part it takes
the same part, for the record says how much, not when (as in ``reserving``).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .decisions import ExclusionSet
from .interval import Interval
from .prorated import Prorated


class Had(NamedTuple):
    """``amount`` was had evenly over the stretch, by whom and where. Names that do not matter may be empty."""

    tenant: str
    gpu_model: str
    project: str
    host_id: str
    device_id: str
    gpu_id: str
    """Of a MIG instance the GPU it is of, otherwise the device again."""
    start_ns: int
    end_ns: int
    amount: int


@dataclass(slots=True)
class Excluded:
    """Of one tenant and GPU model: all of it, and what each exclusion takes, by its place among them."""

    gross: int = 0
    taken: defaultdict[int, Prorated] = field(default_factory=lambda: defaultdict[int, Prorated](Prorated))


def exclude(had: Iterable[Had], exclusions: Sequence[ExclusionSet]) -> dict[tuple[str, str], Excluded]:
    """By (tenant, GPU model). ``exclusions`` in the order in which they were decided."""
    sums: defaultdict[tuple[str, str], Excluded] = defaultdict(Excluded)
    for each in had:
        account = sums[each.tenant, each.gpu_model]
        account.gross += each.amount
        for place, length_ns in _taken(each, exclusions):
            account.taken[place].add(each.amount * length_ns, each.end_ns - each.start_ns)
    return dict(sums)


def applies(exclusion: ExclusionSet, had: Had) -> bool:
    """By its names; an empty one is any. A GPU's is its instances' too."""
    wanted = exclusion.tenant, exclusion.project, exclusion.host_id
    found = had.tenant, had.project, had.host_id
    device = not exclusion.device_id or exclusion.device_id in (had.device_id, had.gpu_id)
    return device and all(not name or name == other for name, other in zip(wanted, found, strict=True))


def _taken(had: Had, exclusions: Sequence[ExclusionSet]) -> Iterator[tuple[int, int]]:
    """(place of an exclusion, how long it takes of the stretch)."""
    free = [Interval(had.start_ns, had.end_ns)]
    for place, exclusion in enumerate(exclusions):
        if not free:
            return
        if exclusion.to_ns <= had.start_ns or exclusion.from_ns >= had.end_ns or not applies(exclusion, had):
            continue
        before_ns = sum(span.length_ns for span in free)
        free = [rest for span in free for rest in _outside(span, exclusion.from_ns, exclusion.to_ns)]
        yield place, before_ns - sum(span.length_ns for span in free)


def _outside(span: Interval, from_ns: int, to_ns: int) -> Iterator[Interval]:
    if span.start_ns < from_ns:
        yield Interval(span.start_ns, min(span.end_ns, from_ns))
    if to_ns < span.end_ns:
        yield Interval(max(span.start_ns, to_ns), span.end_ns)
