"""The life of an open log: opened, opened again after an error, begun anew, closed; and what may happen in between.

Everything that reads or writes does so in ``_reading`` or ``_writing``: they translate what fails, note damage,
and keep away from a file that is being opened anew.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import lmdb

from .checkpoint import DamagedCheckpoint
from .frame import DamagedFrame
from .gate import Gate
from .wal_drop import Drops
from .wal_epoch import Mend, Recovery, no_mending
from .wal_errors import LogBroken, LogUnusable, full
from .wal_open import OpenLog, open_again, open_log, open_next
from .wal_platter import DISK, Platter
from .wal_room import Room
from .wal_tables import Txn

_DAMAGE: Final = (
    DamagedCheckpoint,
    DamagedFrame,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
)
"""What no disk that only failed for a moment explains."""


class LogLife:
    """What a ``Log`` has beside its frames."""

    def __init__(self, opened: OpenLog, cap_bytes: int, mend: Mend = no_mending) -> None:
        self._cap_bytes = cap_bytes
        self._gate = Gate()
        self._mend = mend
        self._in_doubt = False
        """Whether damage was met: then the next ``reopen``, or the next process, checks the file."""
        self._take(opened)

    @classmethod
    def open(cls, folder: Path, host_id: str, cap_bytes: int, platter: Platter = DISK, mend: Mend = no_mending) -> Self:
        """The log in ``folder``, made if there is none; its file takes ``cap_bytes`` at once.

        One that was not closed is checked; if it is damaged, what can be read of it and what ``mend`` says
        instead of the rest are in a new epoch, and ``recovery`` tells of it.
        Raises LogUnusable, or HostIdChanged if another host wrote it.
        """
        return cls(open_log(folder, host_id, cap_bytes, platter, mend), cap_bytes, mend)

    @property
    def epoch(self) -> bytes:
        """Another after ``begin_epoch``, and after a ``reopen`` that found damage."""
        return self._opened.epoch

    @property
    def recovery(self) -> Recovery | None:
        """What became of the log before, if this process has begun one anew because of damage, or has met some then."""
        return self._opened.recovery

    def close(self) -> None:
        """Waits for those who are reading; who asks for anything afterwards hears LogBroken."""
        with self._gate.shut():
            self._opened.close(doubt=self._in_doubt)

    def reopen(self) -> None:
        """After LogBroken, when nobody knows what the last commit came to: closes and opens the file again.

        If a frame did not verify, the file is checked, and begun anew if it is damaged: see ``open``.
        What ``stat`` says from then on is what is there. Raises LogBroken if it cannot be opened; then only
        another ``reopen`` helps.
        """
        self._again(lambda closed: open_again(closed, self._cap_bytes, self._in_doubt, self._mend))
        self._in_doubt = False

    def begin_epoch(self, reason: str) -> None:
        """What is held goes on in a new epoch as in wal_carry.py; the log as it is goes to quarantine.

        For a log that another has gone on with (``fork``). What turns out to be damaged is mended, and told by
        ``recovery``. Raises LogBroken, as ``reopen`` does.
        """
        self._again(lambda closed: open_next(closed, self._cap_bytes, reason, self._mend))
        self._in_doubt = False

    def _again(self, opening: Callable[[OpenLog], OpenLog]) -> None:
        with self._gate.shut():
            self._opened.env.close()
            try:
                self._take(opening(self._opened))
            except (LogUnusable, OSError) as error:
                raise LogBroken(f"{self._opened.folder}: the log cannot be opened again: {error}") from None

    def _take(self, opened: OpenLog) -> None:
        self._opened, self._tables = opened, opened.tables
        self._room = Room(opened.folder, opened.tables, self._cap_bytes)
        self._drops = Drops(opened.epoch, opened.tables)

    @contextmanager
    def _reading(self) -> Generator[Txn]:
        try:
            with self._gate.passing(), self._doubting(), self._opened.env.begin() as txn:
                yield txn
        except (lmdb.Error, DamagedCheckpoint, DamagedFrame) as error:
            raise LogBroken(f"{self._opened.folder}: the log cannot be read: {error}") from None

    @contextmanager
    def _doubting(self) -> Generator[None]:
        """Notes damage, whoever meets it. Those who find it in a frame, or a frame missing, say LogBroken."""
        try:
            yield
        except (LogBroken, *_DAMAGE):
            self._in_doubt = True
            raise

    @contextmanager
    def _writing(self) -> Generator[Txn]:
        try:
            with self._doubting(), self._opened.env.begin(write=True) as txn:
                yield txn
        except lmdb.MapFullError:
            raise full(self._opened.folder, self._cap_bytes) from None
        except (lmdb.Error, DamagedCheckpoint, DamagedFrame) as error:
            raise LogBroken(f"{self._opened.folder}: the log cannot be written: {error}") from None
