"""The outside of a frame: its header, its place in the chain, and the payload that it seals. See docs/formats.md."""

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import zstandard

_HEADER: Final = struct.Struct(">BBH16sQ32sII")
_FORMAT, _PLAIN, _ZSTD = 1, 0, 1
_MAX_RECORDS: Final = 1_000
_MAX_PAYLOAD_BYTES: Final = 256 * 1024
_MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024


class NoFrame(ValueError):
    """Bytes that are no frame; the message says why."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A frame taken apart."""

    records: int
    epoch: bytes
    seq: int
    previous_hash: bytes
    hash: bytes
    payload: bytes


def unseal(raw: bytes) -> Sealed:
    """Raises NoFrame for bytes that are not one frame of format 1."""
    if len(raw) < _HEADER.size:
        raise NoFrame(f"{len(raw)} bytes are no frame")
    version, codec, records, epoch, seq, previous, length, stored_length = _HEADER.unpack_from(raw)
    stored = raw[_HEADER.size :]
    if version != _FORMAT or codec not in (_PLAIN, _ZSTD):
        raise NoFrame(f"format {version} with codec {codec} is unknown")
    if stored_length != len(stored) or length > _MAX_PAYLOAD_BYTES or records > _MAX_RECORDS or seq < 1:
        raise NoFrame(f"the header of frame {seq} does not fit its bytes")
    payload = stored if codec == _PLAIN else _unpack(stored, length)
    if len(payload) != length:
        raise NoFrame(f"frame {seq} has a payload of {len(payload)} bytes, not {length}")
    return Sealed(records, epoch, seq, previous, sha256(raw).digest(), payload)


def _unpack(stored: bytes, length: int) -> bytes:
    try:
        if zstandard.frame_content_size(stored) not in (-1, length):
            raise NoFrame(f"the payload does not say that it has {length} bytes")
        unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        return unpacker.decompress(stored, max_output_size=max(length, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise NoFrame(f"the payload cannot be decompressed: {error}") from None


@dataclass(slots=True)
class Chains:
    """How far each stream's chain was followed, by host and epoch."""

    heads: dict[tuple[str, bytes], tuple[int, bytes]] = field(
        default_factory=dict[tuple[str, bytes], tuple[int, bytes]]
    )

    def follow(self, host_id: str, frame: Sealed) -> str | None:
        """What is wrong with the frame's place; the chain goes on from it in any case."""
        stream = host_id, frame.epoch
        genesis = 0, sha256(host_id.encode() + frame.epoch).digest()
        seq, head = self.heads.get(stream, genesis)
        self.heads[stream] = frame.seq, frame.hash
        if frame.seq != seq + 1:
            return f"frame {frame.seq} follows frame {seq}"
        if frame.previous_hash != head:
            return f"frame {frame.seq} names another frame {seq} than the one before it"
        return None
