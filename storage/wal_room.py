"""The room in a log: how much may be used, what gives way at the cap, and what is kept free.

A tenth of the file, and at least 2 MiB, lies beyond the logical cap. LMDB copies
a page before it changes it, so a map that is really full cannot shrink; and a full
log must still take acknowledgements and checkpoints.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from .checkpoint import encode
from .wal_errors import LogBroken, full
from .wal_state import LogState
from .wal_tables import Tables, Txn

_RESERVE_PART: Final = 10
_RESERVE_BYTES: Final = 2 * 1024 * 1024
"""Thrice a checkpoint of 600 KiB: the one in use, the one it replaced, whose pages LMDB does not take at once, and
the one being written."""
_DEAD_PART: Final = 20
"""Refused frames are kept while they take at most this part of the cap."""


_PAGE_BYTES, _PAGE_HEAD_BYTES = 4096, 16
_LARGEST_NODE_BYTES: Final = 2038
"""What is larger lies on pages of its own: me_nodemax in mdb.c."""
_NODE_COST_BYTES: Final = 58
"""Place (2), head (8) and key (8) of a node, and the head of each frame in the table (40)."""


def limit_of(cap_bytes: int) -> int:
    """The logical cap. A quarter kept free only matters below 8 MiB, the least a configuration may say."""
    return cap_bytes - max(cap_bytes // _RESERVE_PART, min(_RESERVE_BYTES, cap_bytes // 4))


def page_bytes_of(frame_bytes: int) -> int:
    """What a frame takes of pages of 4 KiB, with its part of the pages above them left out."""
    node_bytes = frame_bytes + _NODE_COST_BYTES
    if node_bytes > _LARGEST_NODE_BYTES:
        return -(-(node_bytes + _PAGE_HEAD_BYTES) // _PAGE_BYTES) * _PAGE_BYTES + _NODE_COST_BYTES
    return _PAGE_BYTES // ((_PAGE_BYTES - _PAGE_HEAD_BYTES) // node_bytes)


class Buried(Enum):
    """What became of a frame that the collector refused."""

    KNOWN = "known"
    """Nothing new: it was said before, or of another epoch."""
    KEPT = "kept"
    """Aside, beyond its trimming."""
    NOT_KEPT = "not kept"
    """There was no room for it aside, or it was trimmed already: it goes with the acknowledged ones."""
    AGAIN = "again"
    """It counts as acknowledged again, after it was taken back; whether it is kept was settled before."""


@dataclass(frozen=True, slots=True)
class Room:
    """Every call belongs to a transaction of the caller's, and the state it returns is the caller's to put."""

    folder: Path
    tables: Tables
    cap_bytes: int

    @property
    def limit_bytes(self) -> int:
        return limit_of(self.cap_bytes)

    def make(self, txn: Txn, state: LogState) -> LogState:
        """At the cap, what is acknowledged goes before its time. Raises LogFull if that is not enough."""
        while self.tables.used_bytes(txn) > self.limit_bytes:
            if state.trimmed.seq == state.acked.seq:
                raise full(self.folder, self.cap_bytes)
            state = self.delete_oldest(txn, state)
        return state

    def delete_oldest(self, txn: Txn, state: LogState) -> LogState:
        """The oldest frame, or a whole Skip. Raises as ``delete_through``."""
        seq = self.tables.end_of(txn, state.trimmed.seq + 1)
        if seq is None:
            raise self._missing(state.trimmed.seq + 1)
        return self.delete_through(txn, state, seq)

    def delete_through(self, txn: Txn, state: LogState, seq: int) -> LogState:
        """The one place where acknowledged frames are deleted: oldest first, and never one that is not acknowledged.

        What retention drops unacknowledged leaves a Skip: wal_drop.py.
        Raises LogBroken if the frame is not there.
        """
        if seq > state.acked.seq:
            raise ValueError(f"frame {seq} is not acknowledged; only {state.acked.seq} is")
        mark = self.tables.mark(txn, state, seq)
        if mark is None:
            raise self._missing(seq)
        for each in range(state.trimmed.seq + 1, seq + 1):
            self.tables.delete_frame(txn, each)
        self.tables.delete_acks_through(txn, seq)
        return state.with_trimmed(mark)

    def _missing(self, seq: int) -> LogBroken:
        return LogBroken(f"{self.folder}: frame {seq} should be held, and is not", seq)

    def put_aside(self, txn: Txn, seq: int, reason: str, now_wall_ns: int) -> Buried:
        """Not if such frames take too much already, nor in a full log: its reserve is for what cannot wait."""
        raw = self.tables.frame(txn, seq)
        letter = encode({"reason": reason, "at_wall_ns": now_wall_ns, "frame": raw})
        fits = self.tables.used_bytes(txn) + len(letter) <= self.limit_bytes
        few = self.tables.used_bytes(txn, "dead") + len(letter) <= self.cap_bytes // _DEAD_PART
        if not (raw and few and fits):
            return Buried.NOT_KEPT
        self.tables.put_dead(txn, seq, letter)
        return Buried.KEPT
