"""Retention at the cap: the oldest frames that nobody has acknowledged give way, and one Skip says so in their place.

Several drops in a row leave one Skip: the one that is oldest grows. What was in the frames is the caller's to
remember, in the checkpoint that the same transaction writes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .frame import DamagedFrame, Frame, make_skip, read_frame
from .skip import Lost, Skip, SkipReason, sum_up
from .wal_errors import LogBroken
from .wal_state import LogState, Mark
from .wal_tables import Tables, Txn, verified

_FEWEST: Final = 64
"""Dropped at once, if there are so many: each drop writes the Skip anew."""
_FRAME_COST_BYTES: Final = 64
"""About what the table needs beside a frame's own bytes."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The frames that go, oldest first, where the chain stood before them and where it stands behind the last."""

    grown: Skip | None
    """The Skip right before them, which takes them in."""
    first_seq: int
    previous_hash: bytes
    last: Mark | None
    """None: there is nothing to drop."""
    seqs: tuple[int, ...]
    frames: tuple[bytes, ...]
    is_all: bool

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.frames))


@dataclass(frozen=True, slots=True)
class Drops:
    """Every call belongs to a transaction of the caller's."""

    epoch: bytes
    tables: Tables

    def pick(self, txn: Txn, state: LogState, needed_bytes: int) -> Drop:
        """The oldest unacknowledged frames, so many that ``needed_bytes`` may find room. Raises LogBroken."""
        grown: Frame | None = None
        picked: list[Frame] = []
        is_all, room_bytes = True, 0
        for seq, stored_hash, raw in self.tables.frames_from(txn, state.acked.seq + 1):
            frame = self._read(seq, stored_hash, raw)
            if frame.skip:
                if picked:
                    is_all = False
                    break
                grown = frame if frame.skip.reason == SkipReason.BUFFER_FULL else None
                continue
            if room_bytes > needed_bytes and len(picked) >= _FEWEST:
                is_all = False
                break
            picked.append(frame)
            room_bytes += len(raw) + _FRAME_COST_BYTES
        return self._drop(txn, state, grown, picked, is_all)

    def carry_out(self, txn: Txn, drop: Drop, lost: Iterable[Lost]) -> None:
        """Deletes them, and puts a Skip in their place."""
        if drop.last is None:
            return
        for seq in drop.seqs:
            self.tables.delete_frame(txn, seq)
        before = drop.grown.lost if drop.grown else ()
        told = Skip(drop.first_seq, drop.last.hash, SkipReason.BUFFER_FULL, sum_up((*before, *lost)))
        self.tables.put_skip(txn, make_skip(self.epoch, drop.last.seq, drop.previous_hash, told), drop.last.records)

    def oldest_is_dropped(self, txn: Txn, state: LogState) -> bool:
        """Whether the oldest unacknowledged frame is a Skip that retention made."""
        for _, _, raw in self.tables.frames_from(txn, state.acked.seq + 1):
            try:
                skip = read_frame(raw).skip
            except DamagedFrame:
                return False
            return skip is not None and skip.reason == SkipReason.BUFFER_FULL
        return False

    def _drop(self, txn: Txn, state: LogState, grown: Frame | None, picked: list[Frame], is_all: bool) -> Drop:
        seqs = ([grown.seq] if grown else []) + [frame.seq for frame in picked]
        first = grown or (picked[0] if picked else None)
        last = self.tables.mark(txn, state, picked[-1].seq) if picked else None
        return Drop(
            grown=grown.skip if grown else None,
            first_seq=first.first_seq if first else 0,
            previous_hash=first.previous_hash if first else b"",
            last=last,
            seqs=tuple(seqs),
            frames=tuple(frame.to_bytes() for frame in picked),
            is_all=is_all,
        )

    def _read(self, seq: int, stored_hash: bytes, raw: bytes) -> Frame:
        try:
            return verified(seq, stored_hash, raw, self.epoch)
        except DamagedFrame as error:
            raise LogBroken(f"the log holds a damaged frame: {error}", seq) from None
