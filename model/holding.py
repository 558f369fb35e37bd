"""Who held a device between two looks at it, and how well the edges are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .workload import Holder, ProcessId

EXIT_UNCERTAINTY_NS = 2_000_000
"""How late the end of a process may be noticed through its pidfd."""


@dataclass(slots=True)
class Sight:
    """A good reading of one device, with the holder of each process in its list filled in.

    Amounts are samples: each holds until the next sight.
    """

    at_ns: int
    holders: dict[ProcessId, Holder] = field(default_factory=dict[ProcessId, Holder])
    memory_bytes: dict[ProcessId, int] = field(default_factory=dict[ProcessId, int])
    sm_percent: dict[ProcessId, int] = field(default_factory=dict[ProcessId, int])
    utilization_percent: int | None = None
    energy_mj: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A process had a context on the device, from ``start_ns`` (in) to ``end_ns`` (out)."""

    holder: Holder
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Held:
    """All holds of a stretch, and the sum of what their edges may be off by."""

    holds: tuple[Hold, ...]
    uncertainty_ns: int


def held_between(before: Sight, now: Sight, ended: Mapping[ProcessId, int]) -> Held:
    """The holds between two sights of one device.

    A hold starts with its process where that started after the earlier sight,
    otherwise at the first evidence, the later sight: a process that opens the
    device four days after it started is not billed for four days. It ends with
    its process, or with its absence from the later sight.
    """
    if before.holders == now.holders:  # as at almost every tick
        return Held(tuple(Hold(holder, before.at_ns, now.at_ns) for holder in before.holders.values()), 0)
    holds: list[Hold] = []
    uncertainty_ns = 0
    for process, holder in before.holders.items():
        later = now.holders.get(process)
        if later is not None and later.workload == holder.workload:
            holds.append(Hold(holder, before.at_ns, now.at_ns))
            continue
        end_ns = min(max(ended.get(process, now.at_ns), before.at_ns), now.at_ns)
        holds.append(Hold(holder, before.at_ns, end_ns))
        uncertainty_ns += EXIT_UNCERTAINTY_NS if process in ended else now.at_ns - before.at_ns
    for process, holder in now.holders.items():
        earlier = before.holders.get(process)
        if earlier is not None and earlier.workload == holder.workload:
            continue
        started_between = earlier is None and process.start_ns > before.at_ns
        start_ns = min(process.start_ns, now.at_ns) if started_between else now.at_ns
        holds.append(Hold(holder, start_ns, now.at_ns))
        uncertainty_ns += holder.edge_uncertainty_ns if started_between else now.at_ns - before.at_ns
    return Held(tuple(hold for hold in holds if hold.start_ns < hold.end_ns), uncertainty_ns)


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch during which the same processes held the device."""

    start_ns: int
    end_ns: int
    holders: tuple[Holder, ...]


def slices(start_ns: int, end_ns: int, holds: Sequence[Hold]) -> Iterator[Slice]:
    """Cuts [start, end) wherever a hold begins or ends; together the slices are the whole stretch."""
    if not any(start_ns < hold.start_ns or hold.end_ns < end_ns for hold in holds):
        yield Slice(start_ns, end_ns, tuple(hold.holder for hold in holds))
        return
    inner = {edge for hold in holds for edge in (hold.start_ns, hold.end_ns) if start_ns < edge < end_ns}
    edges = [start_ns, *sorted(inner), end_ns]
    for left, right in pairwise(edges):
        yield Slice(left, right, tuple(h.holder for h in holds if h.start_ns <= left and right <= h.end_ns))
