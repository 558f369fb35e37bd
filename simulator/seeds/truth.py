"""The oracle: what really happened, from the script alone. Knows nothing of how time is metered."""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

from .energy import Counter
from .script import Job, Rules, Script
from .timeline import timelines

UNATTRIBUTED = "unattributed"


@dataclass(frozen=True, slots=True)
class Shares:
    """How a stretch of a device's time is divided among those who had it, exactly."""

    jobs: dict[Job, Fraction]
    idle_ns: int
    sets: int
    """How many different sets of two or more divided some of it: each may be rounded by less than 1 ns."""
    edges: int
    """How often the holders changed inside."""


class Truth:
    """Of one script. All times are true time."""

    def __init__(self, script: Script) -> None:
        self._timelines = timelines(script)
        self._counters = {gpu.device_id: Counter(gpu, script) for gpu in script.gpus}
        self._rules = script.rules

    def shares(self, device_id: str, start_ns: int, end_ns: int) -> Shares:
        """Equal shares of each piece for whoever has the device then."""
        pieces = list(self._timelines[device_id].between(start_ns, end_ns))
        by_set = defaultdict[frozenset[Job], int](int)
        for piece in pieces:
            by_set[piece.sharers] += piece.end_ns - piece.start_ns
        idle_ns = by_set.pop(frozenset(), 0)
        jobs = defaultdict[Job, Fraction](Fraction)
        for sharers, length_ns in by_set.items():
            for job in sharers:
                jobs[job] += Fraction(length_ns, len(sharers))
        return Shares(dict(jobs), idle_ns, sum(len(sharers) > 1 for sharers in by_set), len(pieces) - 1)

    def tenants(self, device_id: str, start_ns: int, end_ns: int) -> dict[str, Fraction]:
        """The same by who answers for each job, under the rules of the moment."""
        found = defaultdict[str, Fraction](Fraction)
        for from_ns, until_ns, rules in self._ruled(start_ns, end_ns):
            for job, share_ns in self.shares(device_id, from_ns, until_ns).jobs.items():
                found[rules.tenants.get(job, UNATTRIBUTED)] += share_ns
        return dict(found)

    def held(self, device_id: str, start_ns: int, end_ns: int) -> dict[Job, int]:
        """How long each job had any context on the device."""
        found = defaultdict[Job, int](int)
        for piece in self._timelines[device_id].between(start_ns, end_ns):
            for job in {holding.process.job for holding in piece.holdings}:
                found[job] += piece.end_ns - piece.start_ns
        return dict(found)

    def short_ns(self, device_id: str, start_ns: int, end_ns: int, shorter_ns: int) -> int:
        """How much of the stretch was held by processes that held the device for less than ``shorter_ns``."""
        return sum(
            piece.end_ns - piece.start_ns
            for piece in self._timelines[device_id].between(start_ns, end_ns)
            if any(holding.use.close_ns - holding.use.open_ns < shorter_ns for holding in piece.holdings)
        )

    def counter(self, device_id: str) -> Counter:
        return self._counters[device_id]

    def _ruled(self, start_ns: int, end_ns: int) -> list[tuple[int, int, Rules]]:
        """The stretch, cut where the rules change."""
        ends = [rules.at_ns for rules in self._rules[1:]] + [1 << 62]
        cut = [(max(r.at_ns, start_ns), min(end, end_ns), r) for r, end in zip(self._rules, ends, strict=True)]
        return [each for each in cut if each[0] < each[1]]
