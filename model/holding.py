"""Who held a device between two looks at it, and how well the edges are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from .energy import Epoch
from .workload import Holder, ProcessId, Workload

EXIT_UNCERTAINTY_NS = 2_000_000
"""How late the end of a process may be noticed through its pidfd."""


class Edge(StrEnum):
    """How the beginning or the end of a hold is known."""

    START = "start"
    """The process's own start, by procfs."""
    EXIT = "exit"
    """Its end, by pidfd."""
    SEEN = "seen"
    """The first reading that lists it."""
    ABSENT = "absent"
    """The first reading that does not."""
    EVIDENCE = "evidence"
    """A sample in the driver's utilization buffer."""
    ACCOUNTED = "accounted"
    """The driver's accounting."""
    MEMORY = "memory"
    """What was remembered of a process that no list shows any more."""


class Passing(NamedTuple):
    """A hold of a process that is not in the list: it came and went since the last reading."""

    holder: Holder
    starts: tuple[tuple[int, Edge], ...]
    """What may have been its beginning, best first; what lies before the last reading was not, for that lacks it."""
    end_ns: int
    end: Edge
    uncertainty_ns: int
    """Where both of its edges are remembered; otherwise they may be anywhere between the two readings."""


@dataclass(slots=True)
class Sight:
    """A good reading of one device, with the holder of each process in its list filled in.

    Memory and the device's utilization are samples that hold until the next sight. The processes'
    own samples were taken since the last one, and tell of that time.
    """

    at_ns: int
    holders: dict[ProcessId, Holder] = field(default_factory=dict[ProcessId, Holder])
    memory_bytes: dict[ProcessId, int] = field(default_factory=dict[ProcessId, int])
    sm_percent: dict[ProcessId, int] = field(default_factory=dict[ProcessId, int])
    utilization_percent: int | None = None
    energy_mj: int | None = None
    power_mw: int | None = None
    epoch: Epoch = Epoch()
    passed: tuple[Passing, ...] = ()
    carried_ns: dict[ProcessId, int] = field(default_factory=dict[ProcessId, int])
    """Whose sample is an older one, and of when: see ``carry_samples``."""


SAMPLE_PERIOD_NS = 166_667_000
"""How long a process may go on after its newest sample without there being another: a driver's usual period."""
RACE_NS = 50_000_000
"""A process that began so shortly before a list was read may have opened the device just after; procfs gives starts
up to 10 ms early, besides."""

SAMPLE_HOLDS_NS = 400_000_000
"""A driver samples processes six times a second, some once. Without a new sample for so long a process is idle."""


def carry_samples(before: Sight, now: Sight) -> None:
    """Two looks may lie closer together than two samples: what was sampled a moment ago then holds."""
    for process, percent in before.sm_percent.items():
        sampled_ns = before.carried_ns.get(process, before.at_ns)
        known = process in now.sm_percent or process not in now.holders
        if not known and now.at_ns - sampled_ns < SAMPLE_HOLDS_NS:
            now.sm_percent[process], now.carried_ns[process] = percent, sampled_ns


@dataclass(frozen=True, slots=True)
class Hold:
    """A process had a context on the device, from ``start_ns`` (in) to ``end_ns`` (out)."""

    holder: Holder
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch during which the same processes held the device."""

    start_ns: int
    end_ns: int
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Who held the device throughout a stretch, what the edges may be off by in all, and how they are known."""

    slices: tuple[Slice, ...]
    uncertainty_ns: int = 0
    edges: Mapping[Workload, tuple[Edge, ...]] = field(default_factory=dict[Workload, tuple[Edge, ...]])


class _Found(NamedTuple):
    hold: Hold
    uncertainty_ns: int = 0
    edges: tuple[Edge, ...] = ()


def held_between(before: Sight, now: Sight, ended: Mapping[ProcessId, int]) -> Held:
    """Who held the device between two sights of it.

    A hold starts with its process where that started after the earlier sight,
    otherwise at the first evidence, the later sight: a process that opens the
    device four days after it started is not billed for four days. It ends with
    its process, or with its absence from the later sight.
    """
    if before.holders == now.holders and not now.passed:  # as at almost every tick
        return Held((Slice(before.at_ns, now.at_ns, tuple(before.holders.values())),))
    found = [*_earlier(before, now, ended), *_new(before, now), *_passed(before, now)]
    holds = [one.hold for one in found if one.hold.start_ns < one.hold.end_ns]
    return Held(
        tuple(_slices(before.at_ns, now.at_ns, holds)),
        sum(one.uncertainty_ns for one in found),
        _edges_of(found),
    )


def _edges_of(found: Sequence[_Found]) -> dict[Workload, tuple[Edge, ...]]:
    edges: dict[Workload, set[Edge]] = {}
    for one in found:
        if one.edges:
            edges.setdefault(one.hold.holder.workload, set()).update(one.edges)
    return {workload: tuple(sorted(words)) for workload, words in edges.items()}


def _earlier(before: Sight, now: Sight, ended: Mapping[ProcessId, int]) -> Iterator[_Found]:
    """Of those who were there at the earlier sight."""
    for process, holder in before.holders.items():
        if _stays(holder, now.holders.get(process)):
            yield _Found(Hold(holder, before.at_ns, now.at_ns))
        elif process in ended:
            end_ns = min(max(ended[process], before.at_ns), now.at_ns)
            yield _Found(Hold(holder, before.at_ns, end_ns), EXIT_UNCERTAINTY_NS, (Edge.EXIT,))
        else:
            yield _Found(Hold(holder, before.at_ns, now.at_ns), now.at_ns - before.at_ns, (Edge.ABSENT,))


def _new(before: Sight, now: Sight) -> Iterator[_Found]:
    """Of those who came since."""
    for process, holder in now.holders.items():
        earlier = before.holders.get(process)
        if earlier is not None and _stays(earlier, holder):
            continue
        if earlier is None and process.start_ns > before.at_ns - RACE_NS:
            start_ns = min(max(process.start_ns, before.at_ns), now.at_ns)
            raced = process.start_ns <= before.at_ns
            uncertainty_ns = now.at_ns - before.at_ns if raced else holder.edge_uncertainty_ns
            yield _Found(Hold(holder, start_ns, now.at_ns), uncertainty_ns, (Edge.START,))
        else:
            yield _Found(Hold(holder, now.at_ns, now.at_ns), now.at_ns - before.at_ns, (Edge.SEEN,))


def _passed(before: Sight, now: Sight) -> Iterator[_Found]:
    """Of those who came and went since, or left before the list was read."""
    for passing in now.passed:
        if passing.holder.process in before.holders or passing.holder.process in now.holders:
            continue
        after = (start for start in passing.starts if before.at_ns - RACE_NS < start[0])
        start_ns, edge = next(after, (before.at_ns, Edge.EVIDENCE))
        raced, start_ns = start_ns <= before.at_ns, max(start_ns, before.at_ns)
        end_ns = min(passing.end_ns, now.at_ns)
        exact = edge is passing.end is Edge.MEMORY and not raced
        uncertainty_ns = passing.uncertainty_ns if exact else now.at_ns - before.at_ns
        hold = Hold(passing.holder, min(start_ns, now.at_ns), max(start_ns, end_ns))
        yield _Found(hold, uncertainty_ns, (edge, passing.end))


def _stays(holder: Holder, later: Holder | None) -> bool:
    return later is not None and later.workload == holder.workload


def _slices(start_ns: int, end_ns: int, holds: Sequence[Hold]) -> Iterator[Slice]:
    """Cuts [start, end) wherever a hold begins or ends; together the slices are the whole stretch.

    In one sweep: a storm of short jobs has as many edges as holds.
    """
    changes: dict[int, list[tuple[int, bool]]] = {start_ns: [], end_ns: []}
    for number, hold in enumerate(holds):
        changes.setdefault(max(hold.start_ns, start_ns), []).append((number, True))
        changes.setdefault(min(hold.end_ns, end_ns), []).append((number, False))
    here: dict[int, Holder] = {}
    for left, right in pairwise(sorted(changes)):
        for number, begins in changes[left]:
            if begins:
                here[number] = holds[number].holder
            else:
                here.pop(number, None)
        yield Slice(left, right, tuple(here[number] for number in sorted(here)))
