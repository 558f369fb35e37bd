"""Who may begin next, where only so many can run at once: one of each caller in turn, however many wait of one."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from .problems import TryLater

CALLER: Final = ContextVar("caller", default="")
"""Whose request this task answers: set around all paths, so that no answer need hand it on."""


class Turns:
    """For the event loop. At the bounds whoever comes is refused; those who wait are not."""

    def __init__(self, what: str, at_once: int, most_waiting: int, most_of_one: int) -> None:
        self._what, self._free = what, at_once
        self._most_waiting, self._most_of_one = most_waiting, most_of_one
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Raises TryLater (503) if too many are waiting."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(CALLER.get())
        try:
            yield
        finally:
            self._next()

    async def _wait(self, who: str) -> None:
        self._refuse_if_full(who)
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(told)
        try:
            await told
        except asyncio.CancelledError:
            if told.done() and not told.cancelled():
                self._next()  # it was told in the same moment: the turn is another's now
            else:
                self._forget(who, told)
            raise

    def _refuse_if_full(self, who: str) -> None:
        of_one = len(self._waiting.get(who, ()))
        if of_one >= self._most_of_one:
            raise TryLater(503, "busy", f"{of_one} {self._what} of yours are waiting already", 1)
        if sum(map(len, self._waiting.values())) >= self._most_waiting:
            raise TryLater(503, "busy", f"{self._most_waiting} {self._what} are waiting already", 1)

    def _forget(self, who: str, told: "asyncio.Future[None]") -> None:
        queue = self._waiting.get(who)
        if queue is not None and told in queue:
            queue.remove(told)
            if not queue:
                del self._waiting[who]

    def _next(self) -> None:
        while self._waiting:
            who, queue = self._waiting.popitem(last=False)
            told = queue.popleft()
            if queue:
                self._waiting[who] = queue  # behind everybody else who waits
            if not told.done():  # it is if whoever waited is leaving in this very moment
                told.set_result(None)
                return
        self._free += 1
