"""The frame: one commit of a host, byte for byte the same on its disk, on the wire and in the ledger.

docs/formats.md describes the bytes; a change of the format starts there.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

import zstandard

FORMAT: Final = 1
MAX_RECORDS: Final = 1_000
MAX_PAYLOAD_BYTES: Final = 256 * 1024
EPOCH_BYTES: Final = 16
_HEADER: Final = struct.Struct(">BBH16sQ32sII")
HEADER_BYTES: Final = _HEADER.size
_MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""What RFC 8878 (3.1.1.1.2) wants every reader to support; only where a zstd frame does not tell its size."""


class Codec(IntEnum):
    """How the payload is stored."""

    PLAIN = 0
    ZSTD = 1


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

    def to_bytes(self) -> bytes:
        return self._header() + self.stored

    @property
    def hash(self) -> bytes:
        return sha256(self._header() + self.stored).digest()

    def payload(self) -> bytes:
        """The serialized batch. Raises DamagedFrame if it does not come out as the header says."""
        if self.codec is Codec.PLAIN:
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


def read_frame(raw: bytes) -> Frame:
    """The frame in these bytes. Raises DamagedFrame if they are none; knows no chain."""
    if len(raw) < HEADER_BYTES:
        raise DamagedFrame(f"{len(raw)} bytes are no frame: the header alone has {HEADER_BYTES}")
    version, codec, records, epoch, seq, previous, length, stored_length = _HEADER.unpack_from(raw)
    stored = raw[HEADER_BYTES:]
    if version != FORMAT:
        raise DamagedFrame(f"frame format {version} is not {FORMAT}: a newer gputally wrote it, or it is damaged")
    if stored_length != len(stored) or length > MAX_PAYLOAD_BYTES or records > MAX_RECORDS or seq < 1:
        raise DamagedFrame(f"frame {seq}: its header does not fit its {len(stored)} bytes")
    if codec not in (Codec.PLAIN, Codec.ZSTD):
        raise DamagedFrame(f"frame {seq}: unknown codec {codec}")
    return Frame(epoch, seq, previous, records, Codec(codec), length, stored)


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
        unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        return unpacker.decompress(stored, max_output_size=max(length, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamagedFrame(f"payload cannot be decompressed: {error}") from None
