"""One nursery, one keeper task per child: crash, wait, run again; the budget spent, the crash is the parent's.

One strategy only. All-for-one is a child with a plain nursery inside;
rest-for-one is nesting what depends inside what it depends on. Budgets multiply
over levels, so this is the only level there is, and systemd is the one below it.
"""

import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

log = logging.getLogger(__name__)

Life = Callable[[], Awaitable[None]]


class GivenUp(Exception):
    """A child crashed more often than its budget allows; the last crash is the cause."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How often a child may crash within a period, and how long it rests between two lives."""

    crashes: int = 5
    period_s: float = 60.0
    first_rest_s: float = 0.1
    longest_rest_s: float = 5.0

    def rest_s(self, crashes: int) -> float:
        """Full jitter: children that fell together do not rise together."""
        return random.uniform(0, min(self.longest_rest_s, self.first_rest_s * 2**crashes))


@dataclass(slots=True)
class Supervisor:
    """Keeps children running until they return. Their crashes are counted by name in ``restarts``."""

    nursery: trio.Nursery
    fatal: tuple[type[Exception], ...] = ()
    """Crashes that another life of the child could not mend."""
    restarts: dict[str, int] = field(default_factory=dict[str, int])

    def start(self, name: str, life: Life, budget: Budget | None = None) -> trio.Event:
        """Runs ``life`` again and again until it returns. The event is set when it has."""
        finished = trio.Event()
        self.restarts[name] = 0
        self.nursery.start_soon(self._keep, name, life, budget or Budget(), finished, name=name)
        return finished

    async def _keep(self, name: str, life: Life, budget: Budget, finished: trio.Event) -> None:
        crashes = deque[float]()
        while True:
            try:
                await life()
            except self.fatal:
                raise
            except Exception as error:
                self.restarts[name] += 1
                await self._rest(name, error, crashes, budget)
            else:
                finished.set()
                return

    async def _rest(self, name: str, error: Exception, crashes: deque[float], budget: Budget) -> None:
        now_s = trio.current_time()
        crashes.append(now_s)
        while now_s - crashes[0] > budget.period_s:
            crashes.popleft()
        if len(crashes) > budget.crashes:
            raise GivenUp(f"{name} crashed {len(crashes)} times in {budget.period_s:g} s: {error}") from error
        log.error("%s crashed (%s: %s) and is started again", name, type(error).__name__, error)
        log.debug("the crash of %s", name, exc_info=error)
        await trio.sleep(budget.rest_s(len(crashes)))
