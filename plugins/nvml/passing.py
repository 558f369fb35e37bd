"""Processes that came and went between two looks, as several children may tell of them.

A child begins with no memory of what the one before it has told, and one that was
stuck tells late. So the daemon knows the newest evidence of each process again, and
keeps what is new until there is a reading that can tell it.
"""

from collections.abc import Iterable

from ...model.reading import PassedProcess
from .replies import PassedRow

REMEMBER_NS = 120_000_000_000
"""Longer than any driver remembers a sample."""
NEAR_NS = 5_000_000
"""Two children see one stamp this far apart at most; two samples of a process are further apart."""
MAX_REMEMBERED = 8192


class Passing:
    """Of one device."""

    __slots__ = ("_told_ns", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[int, PassedProcess] = {}
        """What is to be told, by pid."""
        self._told_ns: dict[int, int] = {}
        """The newest evidence of each pid that was heard of."""

    def hear(self, rows: Iterable[PassedRow], at_ns: int) -> None:
        """What a child tells, of which some may have been told before; ``at_ns`` is its reading's."""
        for pid, stamps_ns, percent in rows:
            self._hear(pid, stamps_ns, percent)
        if len(self._told_ns) > MAX_REMEMBERED or any(ns < at_ns - 2 * REMEMBER_NS for ns in self._told_ns.values()):
            self._forget(at_ns)

    def take(self) -> tuple[PassedProcess, ...]:
        """What is new, each once."""
        taken, self.waiting = tuple(self.waiting.values()), {}
        return taken

    def _hear(self, pid: int, stamps_ns: list[int], percent: int | None) -> None:
        known_ns = self._told_ns.get(pid, 0)
        news = [ns for ns in stamps_ns if ns > known_ns + NEAR_NS]
        if not news or (pid not in self.waiting and len(self.waiting) >= MAX_REMEMBERED):
            return
        self._told_ns[pid] = news[-1]
        before = self.waiting.get(pid)
        self.waiting[pid] = PassedProcess(pid, (*(before.evidence_ns if before else ()), *news), percent)

    def _forget(self, at_ns: int) -> None:
        kept = {pid: ns for pid, ns in self._told_ns.items() if ns > at_ns - REMEMBER_NS}
        newest = sorted(kept, key=lambda pid: kept[pid])[-MAX_REMEMBERED:]
        self._told_ns = {pid: kept[pid] for pid in newest}
