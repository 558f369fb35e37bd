"""Entries of the ledger's log as they lie on its disk: many in one compressed batch. docs/formats.md has the bytes.

A small frame costs more for its place than for what it says, and hosts say much alike. So what one commit
takes is packed together: the frames verbatim, behind three columns that say whose, of what kind and how long each
is. A frame's hash is not stored, since its bytes are; each batch has a digest that covers the one before it.
"""

import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import zstandard

from .frame import HEADER_BYTES, seq_of
from .ledger_rules import EntryKind

FIRST_DIGEST: Final = bytes(32)
"""What stands for the digest before the first batch."""
SELECT_BATCH: Final = (
    "SELECT id, count, received_ns, digest, body, (SELECT digest FROM log AS b WHERE b.id = log.id - log.count)"
    " FROM log WHERE"
)
"""What ``read_batch`` wants to see: the digest before a batch lies with the batch before it."""
_MOST_ENTRIES: Final = 64
_FULL_BYTES: Final = 256 * 1024
"""A batch ends at either: who wants one frame of it unpacks all of it."""
_LARGEST_BYTES: Final = 4 * 1024 * 1024
"""Unpacked. A frame has at most 257 KiB, and one more may come before a batch is full."""
_LEVEL: Final = 3
_HEAD: Final = struct.Struct(">QQqQ")
_REJECTED: Final = struct.Struct(">Q32s")
_COLUMNS_BYTES: Final = 8 + 1 + 4
_KINDS: Final = frozenset(EntryKind)


class _OfThread(threading.local):
    """To make one costs as much as to pack a small batch, and it is not for two threads at once."""

    def __init__(self) -> None:
        self.packer = zstandard.ZstdCompressor(level=_LEVEL)
        self.unpacker = zstandard.ZstdDecompressor()


_OF_THREAD: Final = _OfThread()


class DamagedBatch(ValueError):
    """Bytes that are no batch; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An entry in a batch. ``stream`` is its row; ``body`` the frame, or of a tombstone why it was rejected."""

    stream: int
    seq: int
    kind: EntryKind
    hash: bytes
    body: bytes


def cut(entries: Iterable[Packed]) -> Iterator[list[Packed]]:
    """The entries in order, in groups of which each makes one batch."""
    group: list[Packed] = []
    size_bytes = 0
    for entry in entries:
        group.append(entry)
        size_bytes += len(entry.body)
        if len(group) == _MOST_ENTRIES or size_bytes >= _FULL_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def pack(entries: Sequence[Packed]) -> bytes:
    """Raises ValueError for a frame that does not have its seq: its seq and hash are not said anywhere else."""
    bodies = [_body(entry) for entry in entries]
    columns = struct.pack(
        _columns(len(entries)),
        *(entry.stream for entry in entries),
        *(entry.kind for entry in entries),
        *map(len, bodies),
    )
    return _OF_THREAD.packer.compress(b"".join((columns, *bodies)))


def unpack(stored: bytes, count: int, stream: int | None = None) -> dict[int, Packed]:
    """The entries of a batch by their place in it, in order, those of one ``stream`` or all. Raises DamagedBatch."""
    raw = _decompress(stored)
    if not 0 < count <= len(raw) // _COLUMNS_BYTES:
        raise DamagedBatch(f"{len(raw)} bytes cannot hold {count} entries")
    columns = struct.unpack_from(_columns(count), raw)
    streams, kinds, lengths = columns[:count], columns[count : 2 * count], columns[2 * count :]
    at = count * _COLUMNS_BYTES
    if at + sum(lengths) != len(raw):
        raise DamagedBatch(f"{len(raw)} bytes are not {count} entries of {sum(lengths)} bytes")
    entries: dict[int, Packed] = {}
    for place, (row, kind, length) in enumerate(zip(streams, kinds, lengths, strict=True)):
        if stream in (None, row):
            entries[place] = _entry(row, kind, raw[at : at + length])
        at += length
    return entries


def digest_of(previous: bytes, last_id: int, count: int, received_ns: int, stored: bytes) -> bytes:
    """Of a batch whose last entry is ``last_id``; ``previous`` is the digest of the batch before it."""
    return sha256(previous + _HEAD.pack(last_id, count, received_ns, len(stored)) + stored).digest()


def read_batch(row: Any, stream: int | None = None) -> dict[int, Packed]:
    """As ``unpack``, of a row of SELECT_BATCH whose digest is looked at first. Anything may be in it."""
    last_id, count, received_ns, digest, body, previous = row
    if not all(isinstance(value, int) for value in (last_id, count, received_ns)) or not isinstance(body, bytes):
        raise DamagedBatch("its row holds what no collector writes there")
    previous = FIRST_DIGEST if last_id == count else previous
    if not isinstance(previous, bytes):
        raise DamagedBatch("the batch before it is not there")
    if not 0 < count <= last_id or digest_of(previous, last_id, count, received_ns, body) != digest:
        raise DamagedBatch("its bytes do not have the digest that is stored with them")
    return unpack(body, count, stream)


def _columns(count: int) -> str:
    return f">{count}Q{count}B{count}I"


def _body(entry: Packed) -> bytes:
    if entry.kind is EntryKind.TOMBSTONE:
        return _REJECTED.pack(entry.seq, entry.hash) + entry.body
    if len(entry.body) < HEADER_BYTES or seq_of(entry.body) != entry.seq:
        raise ValueError(f"what is said to be frame {entry.seq} is none")
    return entry.body


def _entry(stream: int, kind: int, body: bytes) -> Packed:
    if kind not in _KINDS:
        raise DamagedBatch(f"there is no entry of kind {kind}")
    if len(body) < (_REJECTED.size if kind == EntryKind.TOMBSTONE else HEADER_BYTES):
        raise DamagedBatch(f"{len(body)} bytes are no entry")
    if kind == EntryKind.TOMBSTONE:
        seq, digest = _REJECTED.unpack_from(body)
        return Packed(stream, seq, EntryKind.TOMBSTONE, digest, body[_REJECTED.size :])
    return Packed(stream, seq_of(body), EntryKind(kind), sha256(body).digest(), body)


def _decompress(stored: bytes) -> bytes:
    try:
        if not 0 < zstandard.frame_content_size(stored) <= _LARGEST_BYTES:
            raise DamagedBatch("it does not say how many bytes are in it, or too many")
        return _OF_THREAD.unpacker.decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamagedBatch(f"it cannot be decompressed: {error}") from None
