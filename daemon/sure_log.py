"""Appending when a commit may have failed half-way: whatever the disk did, each frame is in the log once.

After an error of a commit nobody knows its outcome. So the log is opened anew, its
end is looked at, and what of the frames is there already is left out when they are
said again. All of this runs in the log's writer thread.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..storage.skip import Lost
from ..storage.wal import Entry, Log, LogBroken, LogStat

Judge: TypeAlias = Callable[[Sequence[bytes]], tuple[Iterable[Lost], bytes]]


@dataclass(slots=True)
class SureLog:
    """The writing end of a log for one who says the same again until it is kept."""

    log: Log
    found: int = field(default=0, init=False)
    """How many of the entries of the latest call were there already: it was their commit that had failed."""
    _unsure: tuple[bytes, int] | None = field(default=None, init=False)
    """Epoch and newest seq before a commit whose outcome is not known yet."""

    def append(self, entries: Sequence[Entry], checkpoint: bytes) -> int:
        """As ``Log.append``, tried once more after an error.

        Raises LogBroken if the disk fails again: then the next call must begin with the same
        entries. Raises LogFull, and nothing was written but what was ``found``.
        """
        try:
            return self._append(entries, checkpoint)
        except LogBroken:
            self.log.reopen()
        return self._append(entries, checkpoint)

    def append_over(self, entries: Sequence[Entry], judge: Judge) -> int:
        """As ``Log.append_over``, with the same promises. If it was written after all, it is not written again."""
        try:
            return self._write(entries, lambda rest: self.log.append_over(rest, judge))
        except LogBroken:
            self.log.reopen()
        return self._write(
            entries, lambda rest: self.log.append_over(rest, judge) if rest else self.log.stat().last_seq
        )

    def _append(self, entries: Sequence[Entry], checkpoint: bytes) -> int:
        return self._write(entries, lambda rest: self.log.append(rest, checkpoint))

    def _write(self, entries: Sequence[Entry], write: Callable[[Sequence[Entry]], int]) -> int:
        stat = self.log.stat()
        behind_seq = self._behind_seq(stat)
        self.found = stat.last_seq - behind_seq
        self._unsure = stat.epoch, behind_seq
        try:
            seq = write(entries[self.found :])
        except LogBroken:
            raise
        except BaseException:
            self._unsure = None
            raise
        self._unsure = None
        return seq

    def _behind_seq(self, stat: LogStat) -> int:
        """The newest seq before the entries.

        In a log that was made anew meanwhile, some of them may be there and are said again all the
        same: who reads them counts the same record once.
        """
        if self._unsure is None or self._unsure[0] != stat.epoch:
            return stat.last_seq
        return self._unsure[1]
