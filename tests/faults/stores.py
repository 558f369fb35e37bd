"""A log and a ledger side by side, written as fast as they take it, with a promise for each call that has returned."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from gputally.storage.frame import Frame, read_frame
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_folder import prepare_folder
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import Offer, StreamId
from gputally.storage.wal import Entry, Log
from gputally.storage.wal_platter import Platter

from .forks import Promises

HOST: Final = "gpu-01"
APPENDED, COMMITTED, ACKED = CELLS = 0, 1, 2
"""Frames in the log, frames in the ledger, frames that the log knows to be acknowledged: as the calls returned."""
_TRIM_EVERY: Final = 7


def platter(epoch: bytes | None = None, *, flush: bool = True) -> Platter:
    """Where lives are short: what a log checks after an unclean stop is checked in the same process.

    Each of these processes is a child that may die of it, and a child of its own costs more than all the rest.
    damage.py has the log as it is.
    """
    here: dict[str, Any] = {"child": False} if hasattr(Platter(), "child") else {}
    return replace(Platter(epoch, flush), **here)


@dataclass(slots=True)
class Stores:
    """In a folder, which need not be there yet. ``flush`` False: neither promises anything, whatever it says."""

    folder: Path
    seed: int
    flush: bool = True
    cap_bytes: int = 4 << 20
    promises: Promises = field(default_factory=Promises)
    after: Callable[[], None] = lambda: None
    """Called when a call has returned and its promise is given."""

    def payload(self, seq: int) -> bytes:
        """Of frame ``seq``: nothing that can be compressed, of any size up to some pages."""
        chance = random.Random(f"{self.seed} {seq}")
        return chance.randbytes(chance.choice((60, 700, 3_000, 9_000)))

    def live(self, rounds: int = 1 << 30, *, close: bool = True) -> None:
        """Appends, commits, acknowledges and trims, one frame after another."""
        log = Log.open(self.folder / "log", HOST, self.cap_bytes, platter(self._epoch, flush=self.flush))
        ledger = self._open_ledger()
        self._promise(APPENDED, log.stat().last_seq)
        for _ in range(rounds):
            self._round(log, ledger)
        if close:
            log.close()
            ledger.close()

    def _round(self, log: Log, ledger: Ledger) -> None:
        seq = log.stat().last_seq + 1
        self._promise(APPENDED, log.append([Entry(1, self.payload(seq))], str(seq).encode()))
        cursor = ledger.cursor(StreamId(HOST, log.epoch))
        frames = [read_frame(raw) for raw in log.read(cursor.committed_seq + 1, 8, 1 << 20)]
        ledger.commit([offer_of(frame) for frame in frames], seq)
        self._promise(COMMITTED, frames[-1].seq)
        log.acknowledge(frames[-1].seq, seq)
        self._promise(ACKED, frames[-1].seq)
        if seq % _TRIM_EVERY == 0:
            log.trim(seq)

    def check(self, promises: Promises | None = None) -> tuple[int, int]:
        """(promises not kept, frames that are not what was written). Opens both stores for real."""
        promises = promises or self.promises
        lost_log, wrong_log = self.check_log(promises)
        lost_ledger, wrong_ledger = self.check_ledger(promises)
        return lost_log + lost_ledger, wrong_log + wrong_ledger

    def check_log(self, promises: Promises) -> tuple[int, int]:
        if promises[APPENDED] == 0 and not (self.folder / "log" / "data.mdb").exists():
            return 0, 0
        # Thousands are opened: the check of each is done in here.
        log = Log.open(self.folder / "log", HOST, self.cap_bytes, Platter(epoch=self._epoch, child=False))
        stat = log.stat()
        lost = max(promises[APPENDED] - stat.last_seq, 0) + max(promises[ACKED] - stat.acked_seq, 0)
        raws = log.read(stat.first_seq, 1 << 20, 1 << 30) if stat.first_seq else []
        wrong = sum(not self._is_right(read_frame(raw)) for raw in raws)
        # The checkpoint was put together with a frame: one without the other is half a transaction.
        wrong += log.checkpoint() != (str(stat.last_seq).encode() if stat.last_seq else None)
        log.close()
        return lost, wrong

    def check_ledger(self, promises: Promises) -> tuple[int, int]:
        if promises[COMMITTED] == 0 and not (self.folder / "ledger").exists():
            return 0, 0
        ledger = self._open_ledger()
        cursor = ledger.cursor(StreamId(HOST, self._epoch))
        with LedgerReader(self.folder / "ledger") as reader:
            entries = reader.read(0, 1 << 20, 1 << 30)
        ledger.close()
        lost = max(promises[COMMITTED] - cursor.committed_seq, 0)
        wrong = sum(not self._is_right(read_frame(entry.body)) for entry in entries)
        wrong += [entry.seq for entry in entries] != list(range(1, cursor.committed_seq + 1))
        wrong += bool(entries) and entries[-1].hash != cursor.head_hash
        return lost, wrong

    @property
    def _epoch(self) -> bytes:
        return sha256(str(self.seed).encode()).digest()[:16]

    def _open_ledger(self) -> Ledger:
        prepare_folder(self.folder / "ledger")
        ledger = Ledger(self.folder / "ledger")
        if not self.flush:
            ledger._db.execute("PRAGMA synchronous = OFF")
        return ledger

    def _is_right(self, frame: Frame) -> bool:
        return frame.epoch == self._epoch and frame.payload() == self.payload(frame.seq)

    def _promise(self, cell: int, number: int) -> None:
        self.promises[cell] = max(self.promises[cell], number)
        self.after()


def offer_of(frame: Frame) -> Offer:
    """As the intake would make it."""
    return Offer(StreamId(HOST, frame.epoch), frame.seq, frame.previous_hash, frame.hash, frame.to_bytes())
