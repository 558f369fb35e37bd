"""The netlink process connector: the kernel tells of every process that begins, becomes a program, or ends.

Needs CAP_NET_ADMIN, and the host's own network, pid and user namespaces: elsewhere the
kernel does not answer. Opt-in (``attribution.process_connector``). Its stamps are
CLOCK_MONOTONIC (ktime_get_ns in drivers/connector/cn_proc.c). Only who has
CAP_NET_ADMIN on the host can send into this group, so that what is heard is the kernel's.
"""

import errno
import logging
import os
import select
import socket
import struct
import time
from typing import Final

from .connector_filter import ACKNOWLEDGED, HEAD_BYTES, attach_filter
from .kernel import Change, Happening

_log = logging.getLogger(__name__)

_NETLINK_CONNECTOR: Final = 11  # linux/netlink.h
_PROC_GROUP, _PROC_VALUE = 1, 1  # CN_IDX_PROC, CN_VAL_PROC of linux/connector.h
_LISTEN, _IGNORE = 1, 2  # enum proc_cn_mcast_op
_NLMSG_DONE: Final = 3
_SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h; needs the capability that we need anyway
ROOM_BYTES: Final = 16 * 1024 * 1024
"""Of the socket's buffer: a message takes about 800 bytes of it, so 50 ms of 100,000 processes a second."""
_MESSAGE_BYTES: Final = 128
_ANSWER_WITHIN_MS: Final = 1000
_EVENT: Final = struct.Struct(f"={HEAD_BYTES}xIIQIIII")
_WHAT: Final = struct.Struct(f"={HEAD_BYTES}xI")
_FORK, _EXEC, _EXIT = Change.FORK.value, Change.EXEC.value, Change.EXIT.value
_SHORTEST: Final = _EVENT.size


class ConnectorUnusable(Exception):
    """The kernel does not tell us of processes; one line that says why and what would help."""


class ProcessConnector:
    """Implements the port ``Happenings``. Raises ConnectorUnusable."""

    def __init__(self) -> None:
        self.overruns = 0
        self._buffer = bytearray(_MESSAGE_BYTES)
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR
            )
        except OSError as error:
            raise ConnectorUnusable(f"no process connector: {error.strerror}; is AF_NETLINK allowed?") from error
        try:
            self._listen()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def collect(self) -> list[Happening]:
        found: list[Happening] = []
        # Once for all of them: the two clocks part only while the host is suspended, and then nothing happens.
        ahead_ns = _boottime_ahead_ns()
        receive, buffer, unpack = self._socket.recv_into, self._buffer, _EVENT.unpack_from
        while True:
            try:
                length = receive(buffer)
            except BlockingIOError:
                return found
            except OSError as error:
                self._note_loss(error)
                continue
            if length < _SHORTEST:
                continue
            what, _, stamp_ns, first, _, child, _ = unpack(buffer)
            if what == _FORK:
                found.append(Happening(Change.FORK, child, stamp_ns + ahead_ns))
            elif what == _EXEC:
                found.append(Happening(Change.EXEC, first, stamp_ns + ahead_ns))
            elif what == _EXIT:
                found.append(Happening(Change.EXIT, first, stamp_ns + ahead_ns))

    def close(self) -> None:
        """Older kernels go on making events for nobody unless they are told to stop."""
        try:
            self._ask(_IGNORE)
        except OSError as error:
            _log.debug("the process connector was not told to stop: %s", error)
        self._socket.close()

    def _listen(self) -> None:
        try:
            attach_filter(self._socket)
            self._socket.bind((0, _PROC_GROUP))
            self._make_room()
            self._ask(_LISTEN)
        except PermissionError as error:
            raise ConnectorUnusable("the process connector needs CAP_NET_ADMIN") from error
        except OSError as error:
            raise ConnectorUnusable(f"no process connector in this kernel or namespace: {error.strerror}") from error
        self._await_answer()

    def _make_room(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, ROOM_BYTES)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)

    def _ask(self, request: int) -> None:
        """A struct nlmsghdr, a struct cn_msg and the request."""
        body = struct.pack("=IIIIHHI", _PROC_GROUP, _PROC_VALUE, 0, 0, 4, 0, request)
        self._socket.send(struct.pack("=IHHII", 16 + len(body), _NLMSG_DONE, 0, 0, os.getpid()) + body)

    def _await_answer(self) -> None:
        """The kernel answers a request at once; from a namespace that is not the host's it does not answer."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        deadline_ns = time.monotonic_ns() + _ANSWER_WITHIN_MS * 1_000_000
        while time.monotonic_ns() < deadline_ns and poll.poll(_ANSWER_WITHIN_MS):
            length = self._socket.recv_into(self._buffer)
            if length >= _WHAT.size + 16 and _WHAT.unpack_from(self._buffer)[0] == ACKNOWLEDGED:
                return self._check_answer(struct.unpack_from("=I", self._buffer, HEAD_BYTES + 16)[0])
        raise ConnectorUnusable("the process connector does not answer: is this the host's pid and user namespace?")

    @staticmethod
    def _check_answer(error: int) -> None:
        if error == errno.EPERM:
            raise ConnectorUnusable("the process connector needs CAP_NET_ADMIN")
        if error:
            raise ConnectorUnusable(f"the process connector refuses: {os.strerror(error)}")

    def _note_loss(self, error: OSError) -> None:
        """ENOBUFS: the buffer was full and events are lost. Said the first time, counted always."""
        if error.errno != errno.ENOBUFS:
            raise error
        self.overruns += 1
        if self.overruns == 1:
            _log.warning("the process connector lost events: more processes begin than can be followed; said once")


def _boottime_ahead_ns() -> int:
    """CLOCK_BOOTTIME less CLOCK_MONOTONIC, from the reading that was least interrupted."""
    readings = [(time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic_ns()) for _ in "123"]
    before_ns, boot_ns, after_ns = min(readings, key=lambda reading: reading[2] - reading[0])
    return boot_ns - (before_ns + after_ns) // 2
