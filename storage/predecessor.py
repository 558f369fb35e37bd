"""Where an epoch comes from, as the payload of its first frame.

The bytes are those of the message ``Batch`` in proto/v1/usage.proto with nothing but ``host_id`` and ``predecessor``,
written by hand since storage does not see the wire; a test compares both.
Wire types: https://protobuf.dev/programming-guides/encoding/
"""


def encode_predecessor(host_id: str, epoch: bytes, last_seq: int, reason: str, carried_from_seq: int) -> bytes:
    """``epoch`` and ``last_seq``: of the log that ended, as far as its newest frame is known (0: none).

    From ``carried_from_seq`` on its frames go on in the new one, or are declared in it; ``last_seq + 1``: none does.
    """
    told = _bytes(1, epoch) + _number(2, last_seq) + _bytes(3, reason.encode()) + _number(4, carried_from_seq)
    return _bytes(1, host_id.encode()) + _bytes(11, told)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    told = bytearray()
    while value > 0x7F:
        told.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(told) + bytes([value])
