"""Noticing that processes end: a pidfd for each, all in one epoll descriptor."""

import logging
import os
import resource
import select
from typing import Final

_log = logging.getLogger(__name__)

_SHARE_FOR_OTHERS: Final = 4
"""One descriptor in so many is left to the rest of the daemon: its log, its sockets, its child."""


def raise_descriptor_limit() -> int:
    """Takes the soft limit of open files to the hard one; returns how many this part may hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (OSError, ValueError) as error:
        _log.warning("RLIMIT_NOFILE stays at %d: %s", soft, error)
    most = 1 << 20 if soft == resource.RLIM_INFINITY else soft
    return most - most // _SHARE_FOR_OTHERS


class Descriptors:
    """A budget of descriptors. Those kept beyond it would starve the rest of the daemon."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def keep(self, descriptor: int, *, spare: bool = False) -> int | None:
        """Takes a descriptor over; closes it and answers None where the budget is spent.

        ``spare`` ones only save time, and leave the second half to those that tell of exits.
        """
        if self.held >= (self._most // 2 if spare else self._most):
            os.close(descriptor)
            return None
        self.held += 1
        return descriptor

    def drop(self, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
            self.held -= 1


class ExitWatch:
    """Which processes have ended, without asking any of them."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._epoll = select.epoll()
        self._pids: dict[int, int] = {}

    def fileno(self) -> int:
        """Readable while there are exits that were not collected."""
        return self._epoll.fileno()

    def watch(self, pid: int) -> int | None:
        """A pidfd of the process that has this pid now, a zombie too.

        None where there is none to be had: no such process, an old kernel, no
        descriptors left. It may be dead before it is first looked at: is_alive().
        """
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

    @staticmethod
    def is_alive(pidfd: int) -> bool:
        """Not ended; a zombie has."""
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return not poll.poll(0)

    def collect(self) -> list[int]:
        """The pids that have ended since the last call. Their descriptors are closed."""
        pids: list[int] = []
        while ready := self._epoll.poll(0):  # a thousand at a time
            for pidfd, _ in ready:
                pids.append(self._pids[pidfd])
                self.forget(pidfd)
        return pids

    def forget(self, pidfd: int) -> None:
        """Looks no longer. A second time does nothing."""
        if self._pids.pop(pidfd, None) is not None:
            self._epoll.unregister(pidfd)
            self._descriptors.drop(pidfd)

    def close(self) -> None:
        for pidfd in list(self._pids):
            self.forget(pidfd)
        self._epoll.close()
