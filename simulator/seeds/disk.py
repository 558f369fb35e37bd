"""The log on a platter that is simulated, and the writer that works inline: where a daemon may be killed."""

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class Killed(BaseException):
    """kill -9: nobody may catch it and go on."""


class Writer:
    """Implements the keeper's port InWriter. A dead daemon writes nothing more."""

    def __init__(self) -> None:
        self.dead = False
        self.kill_before = False
        """Told to die before the next commit."""
        self.kill_after = False
        """Told to die between the next commit and whatever follows it."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        await trio.lowlevel.checkpoint()
        if self.dead or self.kill_before:
            raise self._kill()
        done = work()
        if self.kill_after:
            raise self._kill()
        await trio.lowlevel.checkpoint()
        return done

    def _kill(self) -> Killed:
        self.dead = True
        return Killed()
