"""Appending when a commit may have failed half-way: whatever the disk did, each frame is in the log once.

After an error of a commit nobody knows its outcome. So the log is opened anew, its
end is looked at, and what of the frames is there already is left out when they are
said again. All of this runs in the log's writer thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..storage.wal import Entry, Log, LogBroken


@dataclass(slots=True)
class SureLog:
    """The writing end of a log for one who says the same again until it is kept."""

    log: Log
    _unsure: tuple[bytes, int] | None = field(default=None, init=False)
    """Epoch and newest seq before a commit whose outcome is not known yet."""

    def append(self, entries: Sequence[Entry], checkpoint: bytes) -> int:
        """As ``Log.append``, tried once more after an error.

        Raises LogBroken if the disk fails again: then the next call must begin with the same
        entries. Raises LogFull, and nothing was written.
        """
        try:
            return self._append(entries, checkpoint)
        except LogBroken:
            self.log.reopen()
        return self._append(entries, checkpoint)

    def _append(self, entries: Sequence[Entry], checkpoint: bytes) -> int:
        missing = entries[self._already_there() :]
        stat = self.log.stat()
        self._unsure = stat.epoch, stat.last_seq
        try:
            seq = self.log.append(missing, checkpoint)
        except LogBroken:
            self._unsure = stat.epoch, stat.last_seq - (len(entries) - len(missing))
            raise
        except BaseException:
            self._unsure = None  # nothing was written
            raise
        self._unsure = None
        return seq

    def _already_there(self) -> int:
        """How many frames of the last, unsure call are in the log.

        In a log that was made anew meanwhile, some may be there and are said again all the same:
        who reads them counts the same record once.
        """
        if self._unsure is None:
            return 0
        (epoch, behind_seq), stat = self._unsure, self.log.stat()
        return stat.last_seq - behind_seq if stat.epoch == epoch else 0
