"""Our processes that call the driver, and one descriptor on which all that they do arrives."""

import os
import select
import signal
from collections.abc import Iterator, Mapping

import trio

from .clocks import boot_ns
from .spawn import Child

_S = 1_000_000_000


class Children:
    """By their numbers, which grow. ``environment`` is theirs, if it is not our own."""

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        self._environment = environment
        self._by_number: dict[int, Child] = {}
        self._by_fd: dict[int, Child] = {}
        self._born = 0
        self._epoll = select.epoll()

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_number.values()))

    def __getitem__(self, number: int) -> Child:
        return self._by_number[number]

    @property
    def closed(self) -> bool:
        return self._epoll.closed

    def start(self, accounting: bool, events: bool) -> Child:
        """One more: whether it is to switch accounting on, and to look for events. Raises OSError."""
        self._born += 1
        environment = os.environ if self._environment is None else self._environment
        child = Child(self._born, environment, (accounting, events))
        self._by_number[child.number] = child
        for fd in (child.reply_fd, child.pid_fd):
            self._epoll.register(fd, select.EPOLLIN)
            self._by_fd[fd] = child
        return child

    async def wait(self, main: int | None, until_ns: int) -> None:
        """Until something happens."""
        only = self._only(main)
        fd = self._epoll.fileno() if only is None else only.reply_fd
        with trio.move_on_after(max(until_ns - boot_ns(), 0) / _S):
            await trio.lowlevel.wait_readable(fd)

    def happened(self, main: int | None) -> Iterator[tuple[Child, bool]]:
        """Who has something to say, or (True) has ended."""
        only = self._only(main)
        for fd, _ in self._epoll.poll(0) if only is None else [(only.reply_fd, 0)]:
            child = self._by_fd.get(fd)
            if child is not None:  # otherwise it was let go of by an earlier one
                yield child, fd == child.pid_fd

    def may_speak(self, child: Child) -> bool:
        """Whether its reply pipe is still listened to."""
        return child.reply_fd in self._by_fd

    def stop_listening(self, child: Child) -> None:
        """To its pipe; its end is heard all the same."""
        self._forget(child.reply_fd)

    def dismiss(self, numbers: list[int]) -> None:
        """They leave as soon as the call they may be in returns."""
        for number in numbers:
            if number in self._by_number:
                self._by_number[number].leave()
        numbers.clear()

    def send(self, number: signal.Signals) -> None:
        for child in self:
            child.send(number)

    def let_go(self, child: Child) -> None:
        """Of one that has ended, or is left behind."""
        for fd in (child.reply_fd, child.pid_fd):
            self._forget(fd)
        child.close()
        del self._by_number[child.number]

    def close(self) -> None:
        self._epoll.close()

    def _only(self, main: int | None) -> Child | None:
        """The main child while there is no other: what happens to it shows on its reply pipe first."""
        if main is None or len(self._by_number) > 1:
            return None
        child = self._by_number[main]
        return child if child.reply_fd in self._by_fd else None

    def _forget(self, fd: int) -> None:
        if self._by_fd.pop(fd, None) is not None:
            self._epoll.unregister(fd)
