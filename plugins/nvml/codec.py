"""Frames on the pipes between daemon and child: four bytes of length, then msgpack.

A request is ``[device index to leave out, ...]``, and each is answered before the next. A reply is

    [driver calls, other calls, code, host or nil, [row, ...], why, {reason: count, ...}, xids or nil]

- ``host`` is told once, in a child's first reply: ``[driver version, [device, ...]]``, and a device
  is ``[index, uuid, name, memory in bytes, PCI bus id, [note, ...]]``; one that cannot be opened has no UUID.
- ``driver calls`` are those that every tick makes; ``other calls`` are seldom ones, and those about MIG.
- ``row`` is ``[index, at_ns, code, utilization, memory in bytes, energy in mJ, power in mW, processes, passed, mig]``.
- ``processes`` is flat, three each: ``[pid, memory in bytes, per cent of the SMs, ...]``.
- ``passed`` are those in no list: ``[[pid, [at_ns of a sample, ...], per cent of the SMs, accounted], ...]``,
  and ``accounted`` is nil or ``[start_ns, length in ns, per cent of the SMs, largest memory in bytes]``.
- ``mig`` is nil for a GPU that is not cut, else ``[compute slices, memory slices, [instance, ...]]``, and
  an instance is ``[uuid, name, memory in bytes, compute slices, memory slices, code, utilization,
  memory in use, processes]``. It was read when its GPU was, and is told with it, so that they stay one family.
- ``why`` is the loader's word on a driver library that cannot be loaded, and mostly empty.
- ``xids`` are error events: ``[looked at before, at_ns, [index, Xid code, ...]]``.
- the counts are of what was not believed since the last reply (junk.py).

``nil`` is what the driver did not say. Codes are NVML's (errors.py); a reply with a code has no rows.
"""

import struct
from typing import cast

import msgpack

LIMIT_BYTES = 16 << 20
"""Far above 64 devices with thousands of processes each, and far below what would hurt the daemon."""

_LENGTH = struct.Struct("<I")


class BrokenFrameError(Exception):
    """The other end sent what is no frame of ours."""


def pack(message: list[object]) -> bytes:
    payload: bytes = msgpack.packb(message)
    if len(payload) > LIMIT_BYTES:
        raise BrokenFrameError(f"a frame of {len(payload)} bytes exceeds the limit of {LIMIT_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


def read_request(message: object) -> list[int]:
    """The devices to leave out. Raises BrokenFrameError."""
    try:
        return [int(index) for index in cast("list[int]", message)]
    except (TypeError, ValueError) as error:
        raise BrokenFrameError(f"not a request: {error}") from error


class Inbox:
    """Gathers what a pipe delivers in pieces, and gives whole messages."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[object]:
        """The messages completed by ``data``, oldest first. Raises BrokenFrameError."""
        rest = self._rest + data if self._rest else data
        messages: list[object] = []
        start = 0
        while (end := self._end(rest, start)) <= len(rest):
            messages.append(_unpack(rest[start + _LENGTH.size : end]))
            start = end
        self._rest = rest[start:]
        return messages

    @staticmethod
    def _end(data: bytes, start: int) -> int:
        """Where the frame at ``start`` ends; past the end of ``data`` while that is not known."""
        if len(data) - start < _LENGTH.size:
            return len(data) + 1
        (length,) = _LENGTH.unpack_from(data, start)
        if length > LIMIT_BYTES:
            raise BrokenFrameError(f"a frame of {length} bytes exceeds the limit of {LIMIT_BYTES}")
        return start + _LENGTH.size + int(length)


def _unpack(payload: bytes) -> object:
    try:
        return msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as error:
        raise BrokenFrameError(f"not msgpack: {error}") from error
