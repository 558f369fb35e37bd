"""Noticing that processes end: a pidfd for each, all in one epoll descriptor."""

import os
import select
from collections.abc import Callable

from .descriptors import Descriptors
from .kernel import Exit


class ExitWatch:
    """Implements the port ``Exits``; handles are pidfds. An exit is stamped when it is noticed."""

    def __init__(self, descriptors: Descriptors, boot_ns: Callable[[], int]) -> None:
        self._descriptors = descriptors
        self._boot_ns = boot_ns
        self._epoll = select.epoll()
        self._pids: dict[int, int] = {}

    def fileno(self) -> int:
        return self._epoll.fileno()

    def watch(self, pid: int) -> int | None:
        """None, too, on an old kernel and where no descriptors are left."""
        try:
            kept = self._descriptors.keep(os.pidfd_open(pid))
        except (OSError, OverflowError):  # a driver's unsigned pid need not be a pid_t
            return None
        return None if kept is None else self._register(kept, pid)

    def _register(self, pidfd: int, pid: int) -> int | None:
        try:
            self._epoll.register(pidfd, select.EPOLLIN)
        except OSError:  # fs.epoll.max_user_watches
            self._descriptors.drop(pidfd)
            return None
        self._pids[pidfd] = pid
        return pidfd

    def is_alive(self, handle: int) -> bool:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return not poll.poll(0)

    def collect(self) -> list[Exit]:
        exits: list[Exit] = []
        while ready := self._epoll.poll(0):  # a thousand at a time
            now_ns = self._boot_ns()
            for pidfd, _ in ready:
                exits.append(Exit(self._pids[pidfd], now_ns))
                self.forget(pidfd)
        return exits

    def forget(self, handle: int) -> None:
        if self._pids.pop(handle, None) is not None:
            self._epoll.unregister(handle)
            self._descriptors.drop(handle)

    def close(self) -> None:
        for pidfd in list(self._pids):
            self.forget(pidfd)
        self._epoll.close()
