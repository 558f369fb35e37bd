"""True time, the clocks of the simulated host, and trio's clock, which jumps where nothing is left to do."""

import math
from bisect import bisect_right
from itertools import accumulate

import trio

from .script import WALL_AT_START_NS, Boot, S, Script

_MOST_IDLE_ROUNDS = 100


class VirtualClock(trio.abc.Clock):
    """Seconds since a life of the daemon began, as its CLOCK_MONOTONIC counts them.

    trio asks how long to sleep only when no task can run. Where no thread and no
    socket could wake one either, the answer is not at all: it is then already.
    trio's own MockClock goes through the loop once more for each jump.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._idle_rounds = 0

    def start_clock(self) -> None:
        """It began when it was made."""

    def current_time(self) -> float:
        return self.now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        # At its end trio wakes itself a few times through a socket of its own.
        self._idle_rounds = self._idle_rounds + 1 if math.isinf(deadline) else 0
        if self._idle_rounds > _MOST_IDLE_ROUNDS:
            raise RuntimeError("the simulation stands still: no task waits for a time")
        if not self._idle_rounds:
            self.now_s = max(self.now_s, deadline)
        return 0.0


class Clocks:
    """What the clocks of a script's host show at a true instant."""

    def __init__(self, script: Script) -> None:
        self._boots = script.boots
        self._ups = [boot.up_ns for boot in script.boots]
        self._steps = [step.at_ns for step in script.steps]
        self._offsets = [0, *accumulate(step.by_ns for step in script.steps)]
        self._suspends = script.suspends

    def boot(self, true_ns: int) -> Boot:
        """The boot that is, or was the last one."""
        return self._boots[max(bisect_right(self._ups, true_ns) - 1, 0)]

    def boot_ns(self, true_ns: int) -> int:
        """CLOCK_BOOTTIME."""
        return true_ns - self.boot(true_ns).up_ns

    def wall_ns(self, true_ns: int) -> int:
        return WALL_AT_START_NS + true_ns + self._offsets[bisect_right(self._steps, true_ns)]

    def suspended_ns(self, true_ns: int) -> int:
        """CLOCK_BOOTTIME less CLOCK_MONOTONIC: how long this boot has been suspended."""
        up_ns = self.boot(true_ns).up_ns
        return sum(each.length_ns for each in self._suspends if up_ns <= each.from_ns and each.until_ns <= true_ns)


class LifeTime:
    """True time during one life of the daemon, from trio's clock, which is CLOCK_MONOTONIC, and back."""

    def __init__(self, script: Script, start_ns: int) -> None:
        self.clock = VirtualClock()
        self._start_ns = start_ns
        self._suspends = [each for each in script.suspends if each.from_ns >= start_ns]

    def now_ns(self) -> int:
        """Exact: seconds as a double tell nanoseconds apart for a hundred days."""
        now_ns = self._start_ns + round(self.clock.now_s * S)
        for suspend in self._suspends:
            if now_ns <= suspend.from_ns:
                break
            now_ns += suspend.length_ns
        return now_ns

    def at_s(self, true_ns: int) -> float:
        """When it is this true time, by trio's clock. Not for instants in the middle of a suspend."""
        slept_ns = sum(each.length_ns for each in self._suspends if each.until_ns <= true_ns)
        return (true_ns - slept_ns - self._start_ns) / S
