"""The frame: one commit of a host, byte for byte the same on its disk, on the wire and in the ledger.

docs/formats.md describes the bytes; a change of the format starts there.
"""

import struct
import threading
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final, NamedTuple

import zstandard

from .skip import BadSkip, Skip, decode_skip, encode_skip

FORMAT: Final = 1
MAX_RECORDS: Final = 1_000
MAX_PAYLOAD_BYTES: Final = 256 * 1024
EPOCH_BYTES: Final = 16
_HEADER: Final = struct.Struct(">BBH16sQ32sII")
HEADER_BYTES: Final = _HEADER.size
_PLACE: Final = struct.Struct(">16sQ32s")
_PLACE_AT: Final = slice(4, 60)
"""Epoch, seq and hash before: what of a frame depends on where it stands."""
CODEC_AT: Final = 1
_SEQ_AT: Final = slice(20, 28)
_MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""What RFC 8878 (3.1.1.1.2) wants every reader to support; only where a zstd frame does not tell its size."""


class Codec(IntEnum):
    """How the payload is stored."""

    PLAIN = 0
    ZSTD = 1
    SKIP = 2
    """No batch but a Skip, as it is: it stands for frames that are no more."""


_CODECS: Final = frozenset(map(int, Codec))


class _OfThread(threading.local):
    """To make one costs as much as to unpack a small frame, and it is not for two threads at once."""

    def __init__(self) -> None:
        self.unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)


_OF_THREAD: Final = _OfThread()


class DamagedFrame(ValueError):
    """Bytes that are no frame; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A header and the stored payload. ``hash`` covers both, and through ``previous_hash`` all before it."""

    epoch: bytes
    seq: int
    previous_hash: bytes
    record_count: int
    codec: Codec
    payload_length: int
    """Bytes of the payload when it is not compressed."""
    stored: bytes
    skip: Skip | None = None
    """What a frame of codec SKIP says; of any other: None."""

    @property
    def first_seq(self) -> int:
        """Its own seq; of a Skip that of the first frame it stands for."""
        return self.skip.first_seq if self.skip else self.seq

    @property
    def chain_hash(self) -> bytes:
        """What the frame behind it must name as the hash before it."""
        return self.skip.last_hash if self.skip else self.hash

    def to_bytes(self) -> bytes:
        return self._header() + self.stored

    @property
    def hash(self) -> bytes:
        return sha256(self._header() + self.stored).digest()

    def payload(self) -> bytes:
        """The serialized batch, or Skip. Raises DamagedFrame if it does not come out as the header says."""
        if self.codec is not Codec.ZSTD:
            payload = self.stored
        else:
            payload = _decompress(self.stored, self.payload_length)
        if len(payload) != self.payload_length:
            raise DamagedFrame(f"frame {self.seq}: {len(payload)} bytes of payload, not {self.payload_length}")
        return payload

    def _header(self) -> bytes:
        return _HEADER.pack(
            FORMAT,
            self.codec,
            self.record_count,
            self.epoch,
            self.seq,
            self.previous_hash,
            self.payload_length,
            len(self.stored),
        )


def make_frame(epoch: bytes, seq: int, previous_hash: bytes, record_count: int, payload: bytes) -> Frame:
    """Seals a payload into a frame, compressed where that is smaller. ``seq`` starts at 1.

    Raises ValueError beyond MAX_RECORDS or MAX_PAYLOAD_BYTES: the caller cuts its batch first.
    """
    if record_count > MAX_RECORDS or len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"too much for one frame: {record_count} records, {len(payload)} bytes")
    packed = zstandard.ZstdCompressor(level=3).compress(payload)
    codec, stored = (Codec.ZSTD, packed) if len(packed) < len(payload) else (Codec.PLAIN, payload)
    return Frame(epoch, seq, previous_hash, record_count, codec, len(payload), stored)


def make_skip(epoch: bytes, seq: int, previous_hash: bytes, skip: Skip) -> Frame:
    """A frame for ``skip.first_seq`` to ``seq``; ``previous_hash`` is that of the frame before the first."""
    stored = encode_skip(skip)
    if not 1 <= skip.first_seq <= seq or len(stored) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"no Skip can be made of {skip.first_seq} to {seq} with {len(stored)} bytes")
    return Frame(epoch, seq, previous_hash, 0, Codec.SKIP, len(stored), stored, skip)


def reseal(raw: bytes, epoch: bytes, seq: int, previous_hash: bytes) -> bytes:
    """The frame in these bytes in another place. For one that was read before, and is no Skip."""
    return raw[: _PLACE_AT.start] + _PLACE.pack(epoch, seq, previous_hash) + raw[_PLACE_AT.stop :]


def read_frame(raw: bytes) -> Frame:
    """The frame in these bytes. Raises DamagedFrame if they are none; knows no chain."""
    head = read_head(raw)
    return Frame(
        head.epoch,
        head.seq,
        head.previous_hash,
        head.record_count,
        Codec(head.codec),
        head.payload_length,
        raw[HEADER_BYTES:],
        head.skip,
    )


class Head(NamedTuple):
    """What the header of a frame says, and its Skip if it is one: for those who look at very many."""

    codec: int
    record_count: int
    epoch: bytes
    seq: int
    previous_hash: bytes
    payload_length: int
    skip: Skip | None

    @property
    def first_seq(self) -> int:
        """As of a Frame."""
        return self.skip.first_seq if self.skip else self.seq


def read_head(raw: bytes) -> Head:
    """As ``read_frame``, and as strict, in half the time."""
    if len(raw) < HEADER_BYTES:
        raise DamagedFrame(f"{len(raw)} bytes are no frame: the header alone has {HEADER_BYTES}")
    version, codec, records, epoch, seq, previous, length, stored_length = _HEADER.unpack_from(raw)
    stored_bytes = len(raw) - HEADER_BYTES
    if version != FORMAT:
        raise DamagedFrame(f"frame format {version} is not {FORMAT}: a newer gputally wrote it, or it is damaged")
    if stored_length != stored_bytes or length > MAX_PAYLOAD_BYTES or records > MAX_RECORDS or seq < 1:
        raise DamagedFrame(f"frame {seq}: its header does not fit its {stored_bytes} bytes")
    if codec not in _CODECS:
        raise DamagedFrame(f"frame {seq}: unknown codec {codec}")
    skip = _read_skip(seq, records, length, raw[HEADER_BYTES:]) if codec == Codec.SKIP else None
    return Head(codec, records, epoch, seq, previous, length, skip)


def seq_of(raw: bytes) -> int:
    """Of bytes that have at least the length of a header; whatever else they may be."""
    return int.from_bytes(raw[_SEQ_AT])


def span_of(raw: bytes) -> tuple[int, int]:
    """(first seq, last seq) of a frame that was read before: one seq twice, unless it is a Skip."""
    seq = seq_of(raw)
    return (decode_skip(raw[HEADER_BYTES:]).first_seq if raw[CODEC_AT] == Codec.SKIP else seq), seq


def _read_skip(seq: int, records: int, length: int, stored: bytes) -> Skip:
    try:
        skip = decode_skip(stored)
    except BadSkip as error:
        raise DamagedFrame(f"frame {seq}: its Skip {error}") from None
    if records or length != len(stored) or skip.first_seq > seq:
        raise DamagedFrame(f"frame {seq}: a Skip of {records} records and {length} bytes from {skip.first_seq} on")
    return skip


def genesis_hash(host_id: str, epoch: bytes) -> bytes:
    """What stands before the first frame of an epoch."""
    return sha256(host_id.encode() + epoch).digest()


def _decompress(stored: bytes, length: int) -> bytes:
    """Whoever sent it: never more than ``length`` bytes are made, whatever the zstd frame says of itself."""
    try:
        # max_output_size counts only where the frame does not tell its size, so what it tells is looked at first.
        told = zstandard.frame_content_size(stored)
        if told not in (-1, length):
            raise DamagedFrame(f"payload says it has {told} bytes, not {length}")
        return _OF_THREAD.unpacker.decompress(stored, max_output_size=max(length, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamagedFrame(f"payload cannot be decompressed: {error}") from None
