"""Lives of pids, and which of them a stamp speaks of.

The kernel gives a pid to one process at a time and later to another. What the
driver remembers of a process names it by pid and time only: which one it was
follows from when each had the pid, or it does not follow and is not guessed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ...model.workload import Holder, ProcessId
from .sighting import Sighting

LATE_NS: Final = 1_000_000_000
"""A sample is stamped at the end of its period, a second at most: its process may be gone by then."""
EARLY_NS: Final = 20_000_000
"""The stamps of a driver are wall clock: turned into CLOCK_BOOTTIME they may lie before the start by so much."""


@dataclass(frozen=True, slots=True)
class Life:
    """From when to when a process had its pid, both on CLOCK_BOOTTIME. ``end_ns`` None: it has it still."""

    process: ProcessId
    start_ns: int
    end_ns: int | None
    start_uncertainty_ns: int
    """The start lies in [start_ns, start_ns + this]: procfs cuts it off."""
    end_uncertainty_ns: int
    """The end lies in [end_ns - this, end_ns]: it is noticed late."""
    known_as: Holder | Sighting
    """Whose it was when we knew it; where we never did, what was seen of it."""

    @property
    def uncertainty_ns(self) -> int:
        return self.start_uncertainty_ns + self.end_uncertainty_ns

    def had_pid_at(self, at_ns: int) -> bool:
        """Without any doubt."""
        surely_began = self.start_ns + self.start_uncertainty_ns <= at_ns
        return surely_began and (self.end_ns is None or at_ns <= self.end_ns - self.end_uncertainty_ns)

    def may_have_left(self, at_ns: int) -> bool:
        """Whether a driver's stamp can be of this process, given how late and how early stamps are."""
        return self.start_ns - EARLY_NS <= at_ns and (self.end_ns is None or at_ns <= self.end_ns + LATE_NS)


def whose(lives: Sequence[Life], stamps: Iterable[int]) -> Life | None:
    """The one life that all stamps speak of. None: of nobody we know, of two processes, or it cannot be told."""
    found = {id(life): life for life in (_whose(lives, at_ns) for at_ns in stamps)} if lives else {}
    return next(iter(found.values())) if len(found) == 1 else None


def _whose(lives: Sequence[Life], at_ns: int) -> Life | None:
    for life in lives:
        if life.had_pid_at(at_ns):
            return life
    possible = [life for life in lives if life.may_have_left(at_ns)]
    return possible[0] if len(possible) == 1 else None
