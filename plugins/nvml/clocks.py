"""The two clocks of a reading."""

import time

WITHIN_NS = 1_000_000
TRIES = 5


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def both_clocks(tries: int = TRIES) -> tuple[int, int]:
    """Boot and wall clock of one instant: what preemption pulled apart would look like a clock that was set."""
    before_ns, wall_ns, after_ns = boot_ns(), time.time_ns(), boot_ns()
    if after_ns - before_ns < WITHIN_NS or tries == 1:
        return before_ns, wall_ns
    return both_clocks(tries - 1)
