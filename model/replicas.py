"""How many replicas of a workload, or of a project, were alive.

A replica is one live **boundary cgroup**: the outermost trusted group that
attribution bills (a pod, a container, a job's presence on this host, a unit, a
guest, a user's slice), known by its path and inode, and alive while at least one
of its processes holds a device. What lies inside a boundary is not counted: a
tenant makes groups there as it likes, and a pod of three containers is one replica
to whoever scheduled it.

So one workload has at most one replica at a time: ``replica_ns`` is how long it was
there, and a unit that is started anew within a window adds up. The number that
is of interest, how many replicas a project ran over time, is the same count over
all groups of its workloads: integrals of different workloads add up
(``sum(replica_ns) / window`` is the mean), the most at one time do not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from .interval import Interval
from .workload import Holder

_UNKNOWN_INODE: Final = 0


class Life(NamedTuple):
    """A group held some device from ``start_ns`` (in) to ``end_ns`` (out). Of one group they may overlap."""

    group: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Replicas:
    """``ns``: the integral of the number of live groups; ``most`` and ``least``: the extremes of that number."""

    ns: int
    most: int
    least: int


def group_of(holder: Holder) -> str:
    """What is counted once: the boundary's group, or the workload where no group is known."""
    if holder.boundary_inode == _UNKNOWN_INODE:
        return holder.workload.subject_id
    return f"{holder.boundary}#{holder.boundary_inode}"


def extend(lives: list[Life], life: Life) -> None:
    """Adds a life in order of time; joins it to the last one of its group if they touch, so that the list stays short.

    Looks back through the others for it: meant for the lives of one workload.
    """
    for index in range(len(lives) - 1, -1, -1):
        last = lives[index]
        if last.group == life.group:
            if last.start_ns <= life.start_ns <= last.end_ns:
                lives[index] = Life(life.group, last.start_ns, max(last.end_ns, life.end_ns))
                return
            break
    lives.append(life)


def count_replicas(lives: Iterable[Life], within: Interval) -> Replicas:
    """How many groups were alive in ``within``, each counted once however many devices and processes it had."""
    count = ns = most = 0
    least: int | None = None
    at_ns = within.start_ns
    for edge_ns, change in [*_edges(lives, within), (within.end_ns, 0)]:
        if edge_ns > at_ns:
            ns += count * (edge_ns - at_ns)
            most, least = max(most, count), count if least is None else min(least, count)
            at_ns = edge_ns
        count += change
    return Replicas(ns, most, least or 0)


def _edges(lives: Iterable[Life], within: Interval) -> list[tuple[int, int]]:
    """(instant, +1 or -1) in order, the lives of each group joined."""
    by_group: dict[str, list[tuple[int, int]]] = {}
    for group, start_ns, end_ns in lives:
        clipped = max(start_ns, within.start_ns), min(end_ns, within.end_ns)
        if clipped[0] < clipped[1]:
            by_group.setdefault(group, []).append(clipped)
    return sorted(edge for spans in by_group.values() for edge in _joined_edges(sorted(spans)))


def _joined_edges(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start_ns, end_ns = spans[0]
    for next_start_ns, next_end_ns in spans[1:]:
        if next_start_ns > end_ns:
            yield start_ns, 1
            yield end_ns, -1
            start_ns = next_start_ns
        end_ns = max(end_ns, next_end_ns)
    yield start_ns, 1
    yield end_ns, -1
