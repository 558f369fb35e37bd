"""The tables of the log inside LMDB, and how its pages are counted.

| table      | key                | value                                            |
|------------|--------------------|--------------------------------------------------|
| frames     | seq, 8 bytes       | hash (32), records up to here (8), the frame     |
| state      | ``log``            | LogState                                         |
| checkpoint | part, 4 bytes      | what the keeper handed in, cut into parts        |
| acks       | through seq        | when it was acknowledged, ns since 1970 (8)      |
| dead       | seq                | frames that the collector refused, and why       |
"""

import os
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

import lmdb

from .frame import CODEC_AT, Codec, DamagedFrame, Frame, place_of, read_frame
from .wal_state import LogState, Mark, read_state, write_state

Txn: TypeAlias = "lmdb.Transaction[bytes]"

TABLES: Final = ("frames", "state", "checkpoint", "acks", "dead")
_STATE_KEY: Final = b"log"
_PART: Final = struct.Struct(">I")
_PART_BYTES: Final = 2_000
"""Two fit one page. A larger value needs pages in a row, and a full log may have room but none that long."""
_SEQ: Final = struct.Struct(">Q")
_WALL: Final = struct.Struct(">q")
_HEAD: Final = struct.Struct(">32sQ")
_META_PAGES: Final = 2
_ACK_GRAIN_NS: Final = 60_000_000_000
_MAX_READERS: Final = 16
LOCKS: Final = "lock.mdb"
_LOCK_BYTES: Final = 8_192
"""More than the header and a cache line for each reader (MDB_txninfo, MDB_reader in mdb.c)."""


def open_environment(folder: Path, map_bytes: int, *, flush: bool = True) -> lmdb.Environment:
    """For the one writer. Sync on; never writemap, which turns a full disk into SIGBUS.

    Raises OSError where there is no room for the table of readers, which LMDB maps and writes.
    """
    _reserve_locks(folder / LOCKS)
    return lmdb.open(
        str(folder),
        map_size=map_bytes,
        max_dbs=len(TABLES),
        max_readers=_MAX_READERS,
        mode=0o750,
        sync=flush,
        metasync=flush,
        writemap=False,
        lock=True,
        lib_version=0,
    )


def _reserve_locks(file: Path) -> None:
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.posix_fallocate(fd, 0, _LOCK_BYTES)
    finally:
        os.close(fd)


def open_to_look(folder: Path, *, lock: bool) -> lmdb.Environment:
    """For those who only read. Without ``lock`` a writer may reuse pages under a reader: be brief."""
    return lmdb.open(str(folder), readonly=True, create=False, max_dbs=len(TABLES), lock=lock, lib_version=0)


class Tables:
    """The tables of one open environment. Every call belongs to a transaction of the caller's."""

    def __init__(self, env: lmdb.Environment, *, create: bool = False) -> None:
        self._db = {name: env.open_db(name.encode(), create=create) for name in TABLES}
        self._page_bytes = env.stat()["psize"]

    def used_bytes(self, txn: Txn, *names: str) -> int:
        """Bytes of the pages that hold data; of the whole file without names. Free pages do not count."""
        counted = [txn.stat(self._db[name]) for name in names or TABLES]
        pages = sum(s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"] for s in counted)
        return (pages + (0 if names else _META_PAGES + 1)) * self._page_bytes

    def state(self, txn: Txn) -> LogState:
        """Raises DamagedCheckpoint."""
        return read_state(txn.get(_STATE_KEY, b"", db=self._db["state"]))

    def put_state(self, txn: Txn, state: LogState) -> None:
        txn.put(_STATE_KEY, write_state(state), db=self._db["state"])

    def checkpoint(self, txn: Txn) -> bytes | None:
        with txn.cursor(self._db["checkpoint"]) as cursor:
            parts = list(cursor.iternext(keys=False))
        return b"".join(parts) if parts else None

    def put_checkpoint(self, txn: Txn, checkpoint: bytes) -> None:
        """In the place of the one before."""
        db = self._db["checkpoint"]
        txn.drop(db, delete=False)
        for part, start in enumerate(range(0, max(len(checkpoint), 1), _PART_BYTES)):
            txn.put(_PART.pack(part), checkpoint[start : start + _PART_BYTES], append=True, db=db)

    def put_frame(self, txn: Txn, frame: Frame, before: Mark) -> Mark:
        """Behind ``before``, the newest so far. Returns where the chain now ends."""
        raw = frame.to_bytes()
        its_hash = sha256(raw).digest()
        mark = Mark(frame.seq, frame.chain_hash if frame.skip else its_hash, before.records + frame.record_count)
        value = _HEAD.pack(its_hash, mark.records) + raw
        txn.put(_SEQ.pack(frame.seq), value, append=True, db=self._db["frames"])
        return mark

    def mark(self, txn: Txn, state: LogState, seq: int) -> Mark | None:
        """A place that the state knows, or that of a frame that is held."""
        known = {mark.seq: mark for mark in (state.trimmed, state.acked, state.head)}
        raw = None if seq in known else txn.get(_SEQ.pack(seq), db=self._db["frames"])
        return known.get(seq) if raw is None else _mark(seq, raw)

    def end_of(self, txn: Txn, seq: int) -> int | None:
        """``seq`` itself if that frame is held; of a Skip around it, the last seq it stands for; else None."""
        for found_seq, _, raw in self.frames_from(txn, seq):
            return found_seq if found_seq == seq or read_frame(raw).first_seq <= seq else None
        return None

    def first_of(self, txn: Txn, seq: int) -> int | None:
        """The first seq of the frame or Skip that ``seq`` is in; None: it is in none."""
        for _, _, raw in self.frames_from(txn, seq):
            first_seq = read_frame(raw).first_seq
            return first_seq if first_seq <= seq else None
        return None

    def held_through(self, txn: Txn, seq: int) -> int | None:
        """The last key at or before ``seq``."""
        with txn.cursor(self._db["frames"]) as cursor:
            if cursor.set_range(_SEQ.pack(seq)) and cursor.key() == _SEQ.pack(seq):
                return seq
            # Behind the last one set_range leaves the cursor nowhere, and prev() then goes to the last.
            return _SEQ.unpack(cursor.key())[0] if cursor.prev() else None

    def put_skip(self, txn: Txn, skip: Frame, records: int) -> None:
        """In the place of the last frame it stands for. ``records``: those up to there since the epoch began."""
        value = _HEAD.pack(skip.hash, records) + skip.to_bytes()
        txn.put(_SEQ.pack(skip.seq), value, db=self._db["frames"])

    def frames_from(self, txn: Txn, seq: int) -> Iterator[tuple[int, bytes, bytes]]:
        """(seq, hash, bytes) of each frame held from ``seq`` on."""
        with txn.cursor(self._db["frames"]) as cursor:
            if not cursor.set_range(_SEQ.pack(seq)):
                return
            for key, value in cursor.iternext():
                yield _SEQ.unpack(key)[0], value[:32], value[_HEAD.size :]

    def frame(self, txn: Txn, seq: int) -> bytes | None:
        raw = txn.get(_SEQ.pack(seq), db=self._db["frames"])
        return None if raw is None else raw[_HEAD.size :]

    def delete_frame(self, txn: Txn, seq: int) -> None:
        txn.delete(_SEQ.pack(seq), db=self._db["frames"])

    def put_dead(self, txn: Txn, seq: int, letter: bytes) -> None:
        txn.put(_SEQ.pack(seq), letter, db=self._db["dead"])

    def acks(self, txn: Txn, after_seq: int = 0) -> Iterator[tuple[int, int]]:
        """(through seq, ns since 1970) of each acknowledgement beyond ``after_seq``, oldest first."""
        with txn.cursor(self._db["acks"]) as cursor:
            if not cursor.set_range(_SEQ.pack(after_seq + 1)):
                return
            for key, value in cursor.iternext():
                yield _SEQ.unpack(key)[0], _WALL.unpack(value)[0]

    def note_ack(self, txn: Txn, through_seq: int, wall_ns: int) -> None:
        """One entry a minute is enough; its latest time stands for all of it, which keeps frames longer."""
        with txn.cursor(self._db["acks"]) as cursor:
            if cursor.last() and _WALL.unpack(cursor.value())[0] // _ACK_GRAIN_NS == wall_ns // _ACK_GRAIN_NS:
                cursor.delete()
            cursor.put(_SEQ.pack(through_seq), _WALL.pack(wall_ns))

    def forget_acks(self, txn: Txn, beyond_seq: int) -> None:
        """The entry that spans ``beyond_seq`` still holds for what lies before it."""
        beyond = list(self.acks(txn, after_seq=beyond_seq))
        for seq, _ in beyond:
            txn.delete(_SEQ.pack(seq), db=self._db["acks"])
        if beyond and beyond_seq > 0:
            self.note_ack(txn, beyond_seq, beyond[0][1])

    def delete_acks_through(self, txn: Txn, seq: int) -> None:
        with txn.cursor(self._db["acks"]) as cursor:
            while cursor.first() and _SEQ.unpack(cursor.key())[0] <= seq:
                cursor.delete()


def _mark(seq: int, value: bytes) -> Mark:
    stored_hash, records = _HEAD.unpack_from(value)
    if value[_HEAD.size + CODEC_AT] != Codec.SKIP:
        return Mark(seq, stored_hash, records)
    return Mark(seq, read_frame(value[_HEAD.size :]).chain_hash, records)


def verified(seq: int, expected_hash: bytes, raw: bytes, epoch: bytes) -> Frame:
    """The frame that stood under ``seq``. Raises DamagedFrame if it is not, bit for bit, what was put there."""
    verify(seq, expected_hash, raw, epoch)
    return read_frame(raw)


def verify(seq: int, expected_hash: bytes, raw: bytes, epoch: bytes) -> int:
    """As ``verified``, for who needs no more than the first seq that the frame stands for."""
    its_epoch, first_seq, its_seq = place_of(raw)
    if sha256(raw).digest() != expected_hash:
        raise DamagedFrame(f"frame {seq}: its bytes do not have the hash that was stored with them")
    if its_seq != seq or its_epoch != epoch:
        raise DamagedFrame(f"frame {seq}: calls itself {its_seq} of epoch {its_epoch.hex()}")
    return first_seq
