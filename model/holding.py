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
class Slice:
    """A stretch during which the same processes held the device."""

    start_ns: int
    end_ns: int
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Who held the device throughout a stretch, and the sum of what the edges may be off by."""

    slices: tuple[Slice, ...]
    uncertainty_ns: int


def held_between(before: Sight, now: Sight, ended: Mapping[ProcessId, int]) -> Held:
    """Who held the device between two sights of it.

    A hold starts with its process where that started after the earlier sight,
    otherwise at the first evidence, the later sight: a process that opens the
    device four days after it started is not billed for four days. It ends with
    its process, or with its absence from the later sight.
    """
    if before.holders == now.holders:  # as at almost every tick
        return Held((Slice(before.at_ns, now.at_ns, tuple(before.holders.values())),), 0)
    found = [*_holds_of_earlier(before, now, ended), *_holds_of_new(before, now)]
    holds = [hold for hold, _ in found if hold.start_ns < hold.end_ns]
    uncertainty_ns = sum(uncertainty_ns for _, uncertainty_ns in found)
    return Held(tuple(_slices(before.at_ns, now.at_ns, holds)), uncertainty_ns)


def _holds_of_earlier(before: Sight, now: Sight, ended: Mapping[ProcessId, int]) -> Iterator[tuple[Hold, int]]:
    """Of those who were there at the earlier sight, each with what its end may be off by."""
    for process, holder in before.holders.items():
        if _stays(holder, now.holders.get(process)):
            yield Hold(holder, before.at_ns, now.at_ns), 0
            continue
        end_ns = min(max(ended.get(process, now.at_ns), before.at_ns), now.at_ns)
        uncertainty_ns = EXIT_UNCERTAINTY_NS if process in ended else now.at_ns - before.at_ns
        yield Hold(holder, before.at_ns, end_ns), uncertainty_ns


def _holds_of_new(before: Sight, now: Sight) -> Iterator[tuple[Hold, int]]:
    """Of those who came since, each with what its start may be off by."""
    for process, holder in now.holders.items():
        earlier = before.holders.get(process)
        if earlier is not None and _stays(earlier, holder):
            continue
        if earlier is None and process.start_ns > before.at_ns:
            yield Hold(holder, min(process.start_ns, now.at_ns), now.at_ns), holder.edge_uncertainty_ns
        else:
            yield Hold(holder, now.at_ns, now.at_ns), now.at_ns - before.at_ns


def _stays(holder: Holder, later: Holder | None) -> bool:
    return later is not None and later.workload == holder.workload


def _slices(start_ns: int, end_ns: int, holds: Sequence[Hold]) -> Iterator[Slice]:
    """Cuts [start, end) wherever a hold begins or ends; together the slices are the whole stretch."""
    inner = {edge for hold in holds for edge in (hold.start_ns, hold.end_ns) if start_ns < edge < end_ns}
    for left, right in pairwise([start_ns, *sorted(inner), end_ns]):
        yield Slice(left, right, tuple(h.holder for h in holds if h.start_ns <= left and right <= h.end_ns))
