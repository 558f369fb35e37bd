"""Plain data as bytes that say so themselves when they are damaged: checkpoints, and the log's small state.

Four bytes of magic and version, sixteen of blake2b over the rest, then msgpack.
docs/formats.md has the bytes. Integers of any size come back as they were:
an open window sums bytes times nanoseconds, which leaves 64 bits behind.
"""

from hashlib import blake2b
from typing import Any, Final

import msgpack

_MAGIC: Final = b"gTc\x01"
_DIGEST_BYTES: Final = 16
_HEAD_BYTES: Final = len(_MAGIC) + _DIGEST_BYTES
_BIG_INTEGER: Final = 1


class DamagedCheckpoint(ValueError):
    """Bytes that are no checkpoint of this version, or were changed since they were written."""


def encode(data: Any) -> bytes:
    """Lists, dicts, strings, bytes, integers, booleans and None; tuples come back as lists.

    Raises TypeError for anything else.
    """
    body = msgpack.packb(data, default=_unusual)
    return _MAGIC + _digest(body) + body


def decode(raw: bytes) -> Any:
    """What ``encode`` was given. Raises DamagedCheckpoint, whatever the bytes are."""
    body = raw[_HEAD_BYTES:]
    if raw[: len(_MAGIC)] != _MAGIC:
        raise DamagedCheckpoint("it does not begin as a checkpoint of version 1 does")
    if raw[len(_MAGIC) : _HEAD_BYTES] != _digest(body):
        raise DamagedCheckpoint(f"its digest does not fit its {len(body)} bytes")
    try:
        return msgpack.unpackb(body, ext_hook=_usual, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise DamagedCheckpoint(f"its content cannot be read: {error}") from None


def decode_first(raw: bytes) -> Any:
    """As ``decode``, of bytes that go on behind the checkpoint. Raises DamagedCheckpoint."""
    unpacker = msgpack.Unpacker(ext_hook=_usual, strict_map_key=False, max_buffer_size=len(raw) + 1)
    unpacker.feed(raw[_HEAD_BYTES:])
    try:
        unpacker.skip()
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise DamagedCheckpoint(f"its content cannot be read: {error}") from None
    return decode(raw[: _HEAD_BYTES + unpacker.tell()])


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _unusual(value: object) -> msgpack.ExtType:
    if not isinstance(value, int):
        raise TypeError(f"a checkpoint holds plain data, not {type(value).__name__}")
    return msgpack.ExtType(_BIG_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _usual(code: int, raw: bytes) -> int:
    if code != _BIG_INTEGER:
        raise ValueError(f"unknown extension {code}")
    return int.from_bytes(raw, "big", signed=True)
