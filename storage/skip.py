"""What stands in a log for frames that are no more, as the payload of one frame: docs/formats.md.

The bytes are those of the message ``Skip`` in proto/v1/uplink.proto. They are written and read here by
hand, since storage needs them to follow its own chain and does not see the wire; a test compares both.
Wire types: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HASH_BYTES: Final = 32
MOST_LOST: Final = 500
"""Devices that a Skip names; what further ones lost is one sum without a name."""
_LARGEST: Final = 2**64 - 1
_VARINT, _BYTES = 0, 2


class SkipReason(StrEnum):
    """Why frames are no more."""

    BUFFER_FULL = "buffer_full"
    """Retention dropped them at the cap."""
    DAMAGE = "damage"
    """Their bytes could not be read any more."""
    TRIMMED = "trimmed"
    """They were acknowledged and deleted; then the ledger was restored from before."""


class BadSkip(ValueError):
    """Bytes that are no Skip."""


@dataclass(frozen=True, slots=True)
class Lost:
    """How many ns one device's conservation rows had in the frames that are no more."""

    boot_id: str
    device_id: str
    generation: int
    ns: int


@dataclass(frozen=True, slots=True)
class Skip:
    """The frames from ``first_seq`` to the seq of the frame that this is the payload of."""

    first_seq: int
    last_hash: bytes
    reason: str
    lost: tuple[Lost, ...] = ()


def sum_up(lost: Iterable[Lost]) -> tuple[Lost, ...]:
    """One entry for each device, sorted; beyond MOST_LOST the rest is one sum without a name."""
    sums: dict[tuple[str, str, int], int] = {}
    for each in lost:
        device = each.boot_id, each.device_id, each.generation
        sums[device] = sums.get(device, 0) + each.ns
    named = sorted(device for device in sums if device != _NOBODY)
    told = named if len(sums) <= MOST_LOST else named[: MOST_LOST - 1]
    rest_ns = sum(sums.values()) - sum(sums[device] for device in told)
    return *(Lost(*device, sums[device]) for device in told), *([Lost(*_NOBODY, rest_ns)] if rest_ns else [])


_NOBODY: Final = ("", "", 0)


def encode_skip(skip: Skip) -> bytes:
    """Raises ValueError for numbers that the wire cannot carry."""
    return b"".join(
        (
            _number_out(1, skip.first_seq),
            _bytes_out(2, skip.last_hash),
            _bytes_out(3, skip.reason.encode()),
            *(_field_out(4, _lost_out(each)) for each in skip.lost),
        )
    )


def decode_skip(raw: bytes) -> Skip:
    """Raises BadSkip. Fields that only a newer gputally knows are passed over."""
    first_seq, last_hash, reason = 0, b"", b""
    lost: list[Lost] = []
    for number, value in _fields(raw):
        match number, value:
            case 1, int():
                first_seq = value
            case 2, bytes():
                last_hash = value
            case 3, bytes():
                reason = value
            case 4, bytes():
                lost.append(_lost_in(value))
            case _:
                pass
    if first_seq < 1 or len(last_hash) != HASH_BYTES or len(lost) > MOST_LOST:
        raise BadSkip(f"names frame {first_seq}, a hash of {len(last_hash)} bytes and {len(lost)} devices")
    return Skip(first_seq, last_hash, _text(reason), tuple(lost))


def _lost_out(lost: Lost) -> bytes:
    return b"".join(
        (
            _bytes_out(1, lost.boot_id.encode()),
            _bytes_out(2, lost.device_id.encode()),
            _number_out(3, lost.generation),
            _number_out(4, lost.ns),
        )
    )


def _lost_in(raw: bytes) -> Lost:
    texts, numbers = {1: b"", 2: b""}, {3: 0, 4: 0}
    for number, value in _fields(raw):
        if isinstance(value, int):
            numbers[number] = value
        else:
            texts[number] = value
    return Lost(_text(texts[1]), _text(texts[2]), numbers[3], numbers[4])


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadSkip("holds text that is not UTF-8") from None


def _number_out(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value) if value else b""


def _bytes_out(number: int, value: bytes) -> bytes:
    return _field_out(number, value) if value else b""


def _field_out(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    if not 0 <= value <= _LARGEST:
        raise ValueError(f"{value} is no unsigned number of 64 bits")
    told = bytearray()
    while value > 0x7F:
        told.append(value & 0x7F | 0x80)
        value >>= 7
    told.append(value)
    return bytes(told)


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field. Raises BadSkip."""
    at = 0
    while at < len(raw):
        tag, at = _read_varint(raw, at)
        value, at = _read_varint(raw, at)
        if tag & 7 == _VARINT:
            yield tag >> 3, value
        elif tag & 7 == _BYTES and at + value <= len(raw):
            yield tag >> 3, raw[at : at + value]
            at += value
        else:
            raise BadSkip(f"field {tag >> 3} is cut off, or of a kind that it cannot be")


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(raw):
            raise BadSkip("ends inside a number")
        byte, at = raw[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        raise BadSkip("holds a number of more than 64 bits")
    if value > _LARGEST:
        raise BadSkip("holds a number of more than 64 bits")
    return value, at
