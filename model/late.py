"""Evidence that comes when its time has been booked: the driver's buffers may tell of a job a tick or two too late.

All that a stretch adds to its segment is proportional to length, so what was booked can be taken
back by booking it again with the sign turned, and what is known now is booked instead. Where the
segment is closed already, it is told once more, whole, as its next revision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .closing import Open
from .counter import Counter
from .crew import Samples
from .holding import Held, Passing, Sight, held_between
from .segmenter import Add, Touched
from .workload import Holder, ProcessId

GRACE = 2
"""Stretches that can still be explained anew."""

Seen = Callable[[Samples, tuple[Holder, ...], Held], Add]


@dataclass(slots=True)
class Past:
    """A stretch as it was explained, with all that it was explained by, and where it was booked."""

    before: Sight
    now: Sight
    ended: dict[ProcessId, int]
    samples: Samples
    counter: Counter
    touched: list[Touched]

    def covers(self, passing: Passing) -> bool:
        """Whether it was in this stretch that the process was there last, as far as there is evidence."""
        return self.before.at_ns < latest_ns(passing) <= self.now.at_ns

    def explain_anew(self, late: Sequence[Passing], percents: dict[ProcessId, int], seen: Seen) -> list[Open]:
        """Books it again with what has come late. Returns the segments that say something else now."""
        old = held_between(self.before, self.now, self.ended)
        self._book(old, seen, sign=-1)
        self.now = replace(self.now, passed=(*self.now.passed, *late))
        self.samples = replace(self.samples, sm_percent={**self.samples.sm_percent, **percents})
        new = held_between(self.before, self.now, self.ended)
        self._book(new, seen, sign=1)
        changed = {id(opened): opened for opened, _, _ in self.touched}
        for opened in changed.values():
            opened.tally.uncertainty_ns += new.uncertainty_ns - old.uncertainty_ns
        return list(changed.values())

    def _book(self, held: Held, seen: Seen, sign: int) -> None:
        for cut in held.slices:
            add = seen(self.samples, cut.holders, held)
            for opened, from_ns, to_ns in self.touched:
                start_ns, end_ns = max(cut.start_ns, from_ns), min(cut.end_ns, to_ns)
                if start_ns < end_ns:
                    counted = opened.energy_start_mj is not None
                    energy_mj = self.counter.between_mj(start_ns, end_ns) if counted else 0
                    add(opened.tally, sign * (end_ns - start_ns), sign * energy_mj)


def latest_ns(passing: Passing) -> int:
    """The newest trace of it."""
    return max((at_ns for at_ns, _ in passing.starts), default=0)
