"""Processes that came and went between two looks, as several children may tell of them.

A child begins with no memory of what the one before it has told, and one that was
stuck tells late. So the daemon knows the newest evidence of each process again, and
keeps what is new until there is a reading that can tell it.
"""

from collections.abc import Iterable

from ...model.reading import Accounted, PassedProcess
from .replies import PassedRow

NEAR_NS = 5_000_000
"""Two children see one stamp this far apart at most; two samples of a process are further apart."""
MAX_REMEMBERED = 8192


class Passing:
    """Of one device."""

    __slots__ = ("_accounted_ns", "_told_ns", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[int, PassedProcess] = {}
        """What is to be told, by pid."""
        self._told_ns: dict[int, int] = {}
        """The newest evidence of each pid that was heard of."""
        self._accounted_ns: dict[int, int] = {}
        """The start of the newest accounting record of each."""

    def hear(self, rows: Iterable[PassedRow]) -> None:
        """What a child tells, of which some may have been told before."""
        for pid, stamps_ns, percent, accounted in rows:
            self._hear(pid, stamps_ns, percent, None if accounted is None else Accounted._make(accounted))
        for remembered in (self._told_ns, self._accounted_ns):
            if len(remembered) > MAX_REMEMBERED:
                _forget(remembered)

    def take(self) -> tuple[PassedProcess, ...]:
        """What is new, each once."""
        taken, self.waiting = tuple(self.waiting.values()), {}
        return taken

    def _hear(self, pid: int, stamps_ns: list[int], percent: int | None, accounted: Accounted | None) -> None:
        known_ns = self._told_ns.get(pid, 0)
        news = [ns for ns in stamps_ns if ns > known_ns + NEAR_NS]
        if accounted is not None and abs(accounted.start_ns - self._accounted_ns.get(pid, -NEAR_NS - 1)) <= NEAR_NS:
            accounted = None
        full = pid not in self.waiting and len(self.waiting) >= MAX_REMEMBERED
        if full or not (news or accounted):
            return
        if news:
            self._told_ns[pid] = news[-1]
        if accounted is not None:
            self._accounted_ns[pid] = accounted.start_ns
        before = self.waiting.get(pid, PassedProcess(pid))
        self.waiting[pid] = PassedProcess(
            pid,
            (*before.evidence_ns, *news),
            percent if news else before.sm_percent,
            accounted or before.accounted,
        )


def _forget(remembered: dict[int, int]) -> None:
    """All but the newest half."""
    for pid in sorted(remembered, key=lambda pid: remembered[pid])[: -MAX_REMEMBERED // 2]:
        del remembered[pid]
