"""What the sampler is told between two ticks: to stop, to let go of the driver, to take it again, to look now.

The probe may not read and let go at once, so others only leave word here and the sampler carries it
out in its own task. Ticks go on all the while: what nobody may read is a gap ``released``.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

import trio

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
"""How soon another order is seen while a child is being waited for."""
REMIND_EVERY_S = 3600.0


class Driver(Protocol):
    """What of the probe is asked between ticks."""

    async def release(self, within_s: float) -> bool: ...

    def resume(self) -> None: ...


class Hold(StrEnum):
    """Whether we have the driver open."""

    HELD = "held"
    RELEASING = "releasing"
    """Told to let go of it, and some process of ours still has it: mostly one that hangs in it."""
    RELEASED = "released"


@dataclass(slots=True)
class Orders:
    driver: Driver
    wall_s: Callable[[], float] = time.time
    stopping: bool = False
    since_s: float | None = None
    """Wall clock of the order to let go, while it stands."""
    _at_once: bool = False
    _asked: bool = False
    """The driver was asked to let go, and not yet to take up again."""
    _free: bool = False
    _reminded_s: float = 0.0
    _word: trio.Event = field(default_factory=trio.Event)

    @property
    def state(self) -> Hold:
        if self.since_s is None:
            return Hold.HELD
        return Hold.RELEASED if self._free else Hold.RELEASING

    @property
    def since(self) -> str | None:
        """Since when it is told to let go, in RFC 3339."""
        return (
            None
            if self.since_s is None
            else datetime.fromtimestamp(int(self.since_s), UTC).isoformat().replace("+00:00", "Z")
        )

    # ---- for those who want something

    def stop(self) -> None:
        self.stopping = True
        self._say()

    def look(self) -> None:
        """A tick now, not when it is due."""
        self._at_once = True
        self._say()

    def release(self) -> None:
        if self.since_s is None:
            self.since_s, self._free, self._reminded_s = self.wall_s(), False, trio.current_time()
            log.warning("told to let go of the driver: until `gputally daemon resume` (SIGUSR2) every GPU is a gap")
        self._say()

    def resume(self) -> None:
        if self.since_s is not None:
            log.warning("told to take the driver up again")
        self.since_s = None
        self._say()

    async def released(self) -> bool:
        """Waits until nothing of ours has the driver open; False if it is to be taken up again first."""
        while self.state is Hold.RELEASING:
            await self._word.wait()
        return self.state is Hold.RELEASED

    # ---- for the sampler

    async def carry_out(self) -> None:
        """Does what it is told; returns when a tick is wanted before it is due."""
        self._remind()
        while not (self.stopping or self._at_once):
            if self.state is Hold.RELEASING:
                await self._let_go()
            elif self._asked and self.state is Hold.HELD:
                self.driver.resume()
                self._asked, self._at_once = False, True
            else:
                await self._word.wait()
        self._at_once = False

    async def _let_go(self) -> None:
        self._asked = True
        free = await self.driver.release(LOOK_EVERY_S)
        if free and self.state is Hold.RELEASING:
            log.warning("nothing of ours has the driver open any more")
            self._free = True
            self.look()  # that each device is a gap shows now

    def _remind(self) -> None:
        if self.since_s is not None and trio.current_time() - self._reminded_s >= REMIND_EVERY_S:
            self._reminded_s = trio.current_time()
            log.warning(
                "the driver has been %s since %s, every GPU is a gap: `gputally daemon resume` ends that",
                self.state,
                self.since,
            )

    def _say(self) -> None:
        self._word.set()
        self._word = trio.Event()
