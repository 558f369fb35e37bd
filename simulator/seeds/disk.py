"""The log on a platter that is simulated, and the writer that works inline: where a daemon may be killed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from ...storage.wal import Entry, Log
from ...storage.wal_errors import full
from .clocks import LifeTime
from .script import Script

T = TypeVar("T")


class Killed(BaseException):
    """kill -9: nobody may catch it and go on."""


class SimulatedLog(Log):
    """A real log on real LMDB; where the script says so, it has no room for frames."""

    is_full: Callable[[], bool] = staticmethod(lambda: False)
    is_dying: Callable[[], bool] = staticmethod(lambda: False)
    """Whether its daemon is killed at the end of this commit."""

    def append(self, entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        if entries and self.is_full():
            raise full(Path("/simulated"), 0)
        return super().append(entries, checkpoint)


class Writer:
    """Implements the keeper's port InWriter. A dead daemon writes nothing more."""

    def __init__(self, script: Script, time: LifeTime) -> None:
        self._script, self._time = script, time
        self.dead = False
        self.kill_before = False
        """Told to die before the next commit."""
        self.kill_after = False
        """Told to die between the next commit and whatever follows it."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        await self._wait_for_disk()
        if self.dead or self.kill_before:
            raise self._kill()
        done = work()
        if self.kill_after:
            raise self._kill()
        await trio.lowlevel.checkpoint()
        return done

    async def _wait_for_disk(self) -> None:
        now_ns = self._time.now_ns()
        slow = next((each for each in self._script.slow if now_ns in each), None)
        if slow is None:
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep_until(self._time.at_s(slow.until_ns))

    def _kill(self) -> Killed:
        self.dead = True
        return Killed()
