"""Which messages of the process connector reach us at all: a socket filter in classic BPF.

Without it every thread that begins or ends anywhere on the host would wake us.
Layouts: struct nlmsghdr of linux/netlink.h (16 bytes), struct cn_msg of
linux/connector.h (20 bytes), struct proc_event of linux/cn_proc.h. Instructions:
linux/bpf_common.h. A load is big-endian whatever the machine is, so constants that
the kernel wrote in its own order are turned; two loads compare as they are.
"""

import ctypes
import socket
import struct
import sys
from typing import Final, NamedTuple

from .kernel import Change

HEAD_BYTES: Final = 16 + 20
"""Before the proc_event: ``what`` u32, ``cpu`` u32, ``timestamp_ns`` u64, then four u32 that depend on ``what``."""
ACKNOWLEDGED: Final = 0
"""``what`` of the answer to a request of ours: PROC_EVENT_NONE."""

_WHAT: Final = HEAD_BYTES
_DATA: Final = HEAD_BYTES + 16
_PROCESS, _CHILD = _DATA, _DATA + 8
"""Where the pid and the tgid stand: of who ended, and of who was born."""

_LOAD, _TO_X, _IF, _IF_X, _RETURN = 0x20, 0x07, 0x15, 0x1D, 0x06
_ALL, _NOTHING = 0xFFFF_FFFF, 0
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; the socket module has no name for it
_INSTRUCTION: Final = struct.Struct("=HBBI")


class _Step(NamedTuple):
    """An instruction; jumps go to labels, without one to the next."""

    code: int
    constant: int = 0
    then: str = ""
    otherwise: str = ""
    label: str = ""


def _turned(value: int) -> int:
    return int.from_bytes(value.to_bytes(4, sys.byteorder), "big")


_STEPS: Final = (
    _Step(_LOAD, _WHAT),
    _Step(_IF, _turned(Change.EXEC), then="pass"),
    _Step(_IF, _turned(ACKNOWLEDGED), then="pass"),
    _Step(_IF, _turned(Change.FORK), then="fork"),
    _Step(_IF, _turned(Change.EXIT), otherwise="drop"),
    # The first thread of a process has pid == tgid.
    _Step(_LOAD, _PROCESS),
    _Step(_TO_X),
    _Step(_LOAD, _PROCESS + 4),
    _Step(_IF_X, then="pass", otherwise="drop"),
    _Step(_LOAD, _CHILD, label="fork"),
    _Step(_TO_X),
    _Step(_LOAD, _CHILD + 4),
    _Step(_IF_X, then="pass", otherwise="drop"),
    _Step(_RETURN, _ALL, label="pass"),
    _Step(_RETURN, _NOTHING, label="drop"),
)


def attach_filter(sock: socket.socket) -> None:
    """Lets through EXEC, and FORK and EXIT of processes, not of threads. Raises OSError."""
    program = ctypes.create_string_buffer(b"".join(_assemble()))
    fprog = struct.pack("@HP", len(_STEPS), ctypes.addressof(program))  # struct sock_fprog of linux/filter.h
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _assemble() -> list[bytes]:
    places = {step.label: place for place, step in enumerate(_STEPS) if step.label}

    def jump(here: int, label: str) -> int:
        return places[label] - here - 1 if label else 0

    return [
        _INSTRUCTION.pack(step.code, jump(here, step.then), jump(here, step.otherwise), step.constant)
        for here, step in enumerate(_STEPS)
    ]
