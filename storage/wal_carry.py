"""Which frames of a log that ended go on in its next epoch, and how they get there: framed again, payloads unchanged.

Those that are not acknowledged always do. Of the acknowledged ones the newest do too, as far as all of it stays within
half of the room: a ledger that is lost, or restored from before the new epoch, is then filled up again from there. They
are sent a second time, and counted once by their keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import lmdb

from .frame import reseal
from .wal_room import limit_of, page_bytes_of
from .wal_salvage import Found, Salvage
from .wal_state import LogState, Mark
from .wal_tables import Sealed, Tables

_PART: Final = 2
"""Of the room: the other half is for what comes while the collector is away."""
_AT_ONCE, _AT_ONCE_BYTES = 4_000, 8 * 1024 * 1024
"""Of one transaction: LMDB holds the pages it has changed in memory until it commits."""


@dataclass(frozen=True, slots=True)
class Carried:
    """``frames`` go on, in their order; the first ``acked_frames`` of them were acknowledged."""

    frames: Sequence[Found]
    acked_frames: int
    from_seq: int
    """From this seq on each frame of the old epoch is among them, or is lost and declared, or was dropped."""

    @property
    def file_bytes(self) -> int:
        """What they take of a file, about, with the pages that lead to them and those that a commit replaces."""
        bytes_of_frames = sum(page_bytes_of(found.length) for found in self.frames)
        return bytes_of_frames + bytes_of_frames // 50


def choose(salvaged: Salvage, cap_bytes: int) -> Carried:
    """A hole among the acknowledged frames ends what goes on of them: behind ``from_seq`` nothing may be missing."""
    waiting = [found for found in salvaged.held() if found.seq > salvaged.acked_seq and not found.is_skip]
    left_bytes = limit_of(cap_bytes) // _PART - sum(page_bytes_of(found.length) for found in waiting)
    from_seq, acked = salvaged.acked_seq + 1, list[Found]()
    while (found := salvaged.frames.get(from_seq - 1)) is not None:
        left_bytes -= 0 if found.is_skip else page_bytes_of(found.length)
        if left_bytes < 0:
            break
        from_seq = found.first_seq
        if not found.is_skip:
            acked.append(found)
    return Carried([*reversed(acked), *waiting], len(acked), from_seq)


def carry(env: "lmdb.Environment", tables: Tables, salvaged: Salvage, carried: Carried, state: LogState) -> LogState:
    """Writes them behind what ``state`` knows. Raises lmdb.Error."""
    for some in _batches(carried.frames):
        sealed = list(_again(salvaged, some, state))
        state = state.with_head(Mark(*sealed[-1][:3]))
        with env.begin(write=True) as txn:
            tables.put_sealed(txn, sealed)
            tables.put_state(txn, state)
    return state


def _batches(frames: Sequence[Found]) -> Iterator[list[Found]]:
    some, size_bytes = list[Found](), 0
    for found in frames:
        if some and (len(some) >= _AT_ONCE or size_bytes + found.length > _AT_ONCE_BYTES):
            yield some
            some, size_bytes = [], 0
        some.append(found)
        size_bytes += found.length
    if some:
        yield some


def _again(salvaged: Salvage, some: Sequence[Found], state: LogState) -> Iterator[Sealed]:
    """The same stored payloads at the end of the new chain."""
    seq, its_hash, records = state.head.seq, state.head.hash, state.head.records
    for found in some:
        seq += 1
        raw = reseal(salvaged.read(found), state.epoch, seq, its_hash)
        its_hash, records = sha256(raw).digest(), records + found.records
        yield seq, its_hash, records, raw
