"""The oracle: what really happened, from the script alone. Knows nothing of how time is metered."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import lcm

from .script import Job, Lease, Rules, Script, Use
from .timeline import timelines

UNATTRIBUTED = "unattributed"

Division = tuple[tuple[tuple[Job, int], ...], int]
"""Each one's units, and how many there are."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How a stretch of a device's time is divided among those who had it, exactly."""

    jobs: dict[Job, Fraction]
    idle_ns: Fraction
    sets: int
    """How many different sets of two or more divided some of it: each may be rounded by less than 1 ns."""
    edges: int
    """How often who shares changed inside."""


class Truth:
    """Of one script. All times are true time."""

    def __init__(self, script: Script) -> None:
        self._timelines = timelines(script)
        self._rules = script.rules
        self._parents = {each.device_id: each.parent_id for each in script.instances}
        self._leases = script.leases
        self._lease_tenants = {each.job: each.tenant for each in script.leases}

    def shares(self, device_id: str, start_ns: int, end_ns: int) -> Shares:
        """Who has a claim has its units of it; without any claim, who holds it has an equal part."""
        by_set = defaultdict[Division, int](int)
        pieces = list(self._pieces(device_id, start_ns, end_ns))
        for from_ns, until_ns, division in pieces:
            by_set[division] += until_ns - from_ns
        jobs, idle_ns = defaultdict[Job, Fraction](Fraction), Fraction()
        for (parts, whole), length_ns in by_set.items():
            for job, units in parts:
                jobs[job] += Fraction(length_ns * units, whole)
            idle_ns += Fraction(length_ns * (whole - sum(units for _, units in parts)), whole)
        return Shares(dict(jobs), idle_ns, sum(whole > 1 for _, whole in by_set), len(pieces) - 1)

    def tenants(self, device_id: str, start_ns: int, end_ns: int) -> dict[str, Fraction]:
        """The same by who answers for each job, under the rules of the moment, or as the lease says."""
        found = defaultdict[str, Fraction](Fraction)
        for from_ns, until_ns, rules in self._ruled(start_ns, end_ns):
            for job, share_ns in self.shares(device_id, from_ns, until_ns).jobs.items():
                found[self._lease_tenants.get(job) or rules.tenants.get(job, UNATTRIBUTED)] += share_ns
        return dict(found)

    def _pieces(self, device_id: str, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, Division]]:
        names = (device_id, self._parents.get(device_id))
        leases = [x for x in self._leases if x.device_id in names and x.start_ns < end_ns and start_ns < x.end_ns]
        cuts = {edge for each in leases for edge in (each.start_ns, each.end_ns)}
        for piece in self._timelines[device_id].between(start_ns, end_ns):
            edges = [piece.start_ns, *sorted(x for x in cuts if piece.start_ns < x < piece.end_ns), piece.end_ns]
            for left, right in pairwise(edges):
                claimed = [each for each in leases if each.start_ns <= left and right <= each.end_ns]
                yield left, right, _claimed(claimed) if claimed else _equal(piece.sharers)

    def held(self, device_id: str, start_ns: int, end_ns: int) -> dict[Job, int]:
        """How long each job had any context on the device."""
        found = defaultdict[Job, int](int)
        for piece in self._timelines[device_id].between(start_ns, end_ns):
            for job in {holding.process.job for holding in piece.holdings}:
                found[job] += piece.end_ns - piece.start_ns
        return dict(found)

    def held_ns(self, device_id: str, start_ns: int, end_ns: int, is_meant: Callable[[Use], bool]) -> int:
        """How much of the stretch somebody held the device whose use of it is meant."""
        return sum(
            piece.end_ns - piece.start_ns
            for piece in self._timelines[device_id].between(start_ns, end_ns)
            if any(is_meant(holding.use) for holding in piece.holdings)
        )

    def opens_late(self, device_id: str, start_ns: int, end_ns: int) -> bool:
        """Whether somebody in the stretch has the device, but not since his process began."""
        return any(
            holding.use.open_ns != holding.process.start_ns
            for piece in self._timelines[device_id].between(start_ns, end_ns)
            for holding in piece.holdings
        )

    def held_through(self, device_id: str, who: tuple[str, str], start_ns: int, end_ns: int) -> bool:
        """Whether one and the same process of a workload had the device at both ends."""
        before = {holding.process for holding in self._timelines[device_id].at(start_ns).holdings}
        after = {holding.process for holding in self._timelines[device_id].at(end_ns).holdings}
        return any((process.job.kind, process.job.id) == who for process in before & after)

    def _ruled(self, start_ns: int, end_ns: int) -> list[tuple[int, int, Rules]]:
        """The stretch, cut where the rules change."""
        ends = [rules.at_ns for rules in self._rules[1:]] + [1 << 62]
        cut = [(max(r.at_ns, start_ns), min(end, end_ns), r) for r, end in zip(self._rules, ends, strict=True)]
        return [each for each in cut if each[0] < each[1]]


def _equal(sharers: frozenset[Job]) -> Division:
    return tuple((job, 1) for job in sorted(sharers, key=str)), len(sharers) or 1


def _claimed(leases: list[Lease]) -> Division:
    """Only the stronger class has a part; where more is claimed than there is, everybody gets less."""
    strongest = [each for each in leases if each.is_scheduled] or leases
    whole = lcm(*(each.of for each in strongest))
    units = defaultdict[Job, int](int)
    for each in strongest:
        units[each.job] += each.units * whole // each.of
    return tuple(sorted(units.items(), key=str)), max(whole, sum(units.values()))
