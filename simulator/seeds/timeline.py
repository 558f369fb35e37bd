"""Who has each device when, as a script has it: pieces of time in which nothing changes."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from .script import Job, Process, Script, Use


@dataclass(frozen=True, slots=True)
class Holding:
    """A process's context on a device."""

    process: Process
    use: Use


@dataclass(frozen=True, slots=True)
class Piece:
    """In ``[start_ns, end_ns)`` exactly these hold the device."""

    start_ns: int
    end_ns: int
    holdings: tuple[Holding, ...]

    @property
    def sharers(self) -> frozenset[Job]:
        """Who divides this time: the host's own processes only where nobody else has the device."""
        jobs = frozenset(holding.process.job for holding in self.holdings)
        return frozenset(job for job in jobs if not job.is_host) or jobs


class Timeline:
    """One device's pieces from the beginning of all time to its end."""

    def __init__(self, holdings: list[Holding]) -> None:
        opened, closed = defaultdict[int, list[Holding]](list), defaultdict[int, list[Holding]](list)
        for holding in holdings:
            opened[holding.use.open_ns].append(holding)
            closed[holding.use.close_ns].append(holding)
        edges = sorted({-(1 << 62), 1 << 62, *opened, *closed})
        self._pieces = list(_pieces(edges, opened, closed))
        self._starts = [piece.start_ns for piece in self._pieces]

    def at(self, at_ns: int) -> Piece:
        return self._pieces[bisect_right(self._starts, at_ns) - 1]

    def between(self, start_ns: int, end_ns: int) -> Iterator[Piece]:
        """The pieces of a stretch, cut to it."""
        for index in range(bisect_right(self._starts, start_ns) - 1, len(self._pieces)):
            piece = self._pieces[index]
            if piece.start_ns >= end_ns:
                return
            yield Piece(max(piece.start_ns, start_ns), min(piece.end_ns, end_ns), piece.holdings)


def _pieces(
    edges: list[int], opened: defaultdict[int, list[Holding]], closed: defaultdict[int, list[Holding]]
) -> Iterator[Piece]:
    there: dict[int, Holding] = {}
    for left, right in pairwise(edges):
        for holding in closed[left]:
            there.pop(id(holding), None)
        for holding in opened[left]:
            there[id(holding)] = holding
        yield Piece(left, right, tuple(sorted(there.values(), key=lambda each: each.process.pid)))


def timelines(script: Script) -> dict[str, Timeline]:
    """By device, each one of the script."""
    found: dict[str, list[Holding]] = {device_id: [] for device_id in script.device_ids}
    for process in script.processes:
        for use in process.uses:
            found[use.device_id].append(Holding(process, use))
    return {device_id: Timeline(holdings) for device_id, holdings in found.items()}
