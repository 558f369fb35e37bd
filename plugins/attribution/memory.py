"""A short memory of processes that have ended: the driver tells of some only when they are gone."""

from typing import Final

from ...model.workload import Holder, ProcessId
from .lives import Life

MOST_REMEMBERED: Final = 16_384
REMEMBERED_S: Final = 60
"""The driver's own buffer of samples reaches back some ten seconds, the slowest cadence is 60 s."""


class Memory:
    """Lives that have ended, oldest first, for ``kept_s``; 0: none at all.

    At its bound the oldest go early; ``dropped`` counts them.
    """

    def __init__(self, kept_s: int = REMEMBERED_S) -> None:
        self._kept_ns = kept_s * 1_000_000_000
        self._lives: dict[ProcessId, Life] = {}
        self._starts: dict[int, list[int]] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._lives)

    def remember(self, life: Life) -> None:
        """A second account of the same life adds what it knows better."""
        if not self._kept_ns:
            return
        before = self._lives.pop(life.process, None)
        if before is None:
            self._starts.setdefault(life.process.pid, []).append(life.process.start_ns)
        self._lives[life.process] = life if before is None else _best_of(before, life)
        if len(self._lives) > MOST_REMEMBERED:
            self._drop(next(iter(self._lives)))
            self.dropped += 1

    def forget_old(self, now_ns: int) -> None:
        while self._lives:
            process, life = next(iter(self._lives.items()))
            if life.end_ns is not None and now_ns - life.end_ns <= self._kept_ns:
                return
            self._drop(process)

    def lives_of(self, pid: int) -> list[Life]:
        """Everybody who had this pid lately and has ended."""
        return [self._lives[ProcessId(pid, start_ns)] for start_ns in self._starts.get(pid, ())]

    def _drop(self, process: ProcessId) -> None:
        del self._lives[process]
        starts = self._starts[process.pid]
        starts.remove(process.start_ns)
        if not starts:
            del self._starts[process.pid]


def _best_of(one: Life, other: Life) -> Life:
    """The holder of whoever knew it, and the edges of whoever knew them better."""
    owner = one if isinstance(one.known_as, Holder) else other
    start = min(one, other, key=lambda life: life.start_uncertainty_ns)
    # A first thread can seem to end before the process: of two that know as well, the later end is the process's.
    end = min(one, other, key=lambda life: (life.end_uncertainty_ns, -(life.end_ns or 0)))
    return Life(
        one.process, start.start_ns, end.end_ns, start.start_uncertainty_ns, end.end_uncertainty_ns, owner.known_as
    )
