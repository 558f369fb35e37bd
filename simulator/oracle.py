"""What a right answer of the fake driver is: the same arithmetic as in C, in Python's integers."""

import time

from .nouns import Kind, Schedule, SimDevice, SimProcess, Step


def boottime_ns() -> int:
    """The clock that scenarios speak of."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def steps_of(schedule: Schedule) -> tuple[Step, ...]:
    return (Step(0, schedule),) if isinstance(schedule, int) else schedule


def value_at(schedule: Schedule, at_ns: int) -> int:
    begun = [step.value for step in steps_of(schedule) if step.at_ns <= at_ns]
    return begun[-1] if begun else 0


def integral(schedule: Schedule, from_ns: int, until_ns: int) -> int:
    """Of value over nanoseconds in ``[from_ns, until_ns)``."""
    steps = steps_of(schedule)
    ends = [*(step.at_ns for step in steps[1:]), until_ns]
    total = 0
    for step, end_ns in zip(steps, ends, strict=False):
        total += step.value * max(min(end_ns, until_ns) - max(step.at_ns, from_ns), 0)
    return total


def energy_mj(device: SimDevice, at_ns: int) -> int:
    """What the counter says at ``at_ns``: whole millijoules since the origin, or since it was set, rounded down."""
    origin = Step(device.energy_origin_ns, 0)
    last = [origin, *(s for s in device.energy_steps_mj if origin.at_ns <= s.at_ns <= at_ns)][-1]
    return last.value + integral(device.power_mw, last.at_ns, at_ns) // 10**9


def utilization(device: SimDevice, at_ns: int) -> int:
    """Percent of the device, as nvmlDeviceGetUtilizationRates answers it."""
    return value_at(device.utilization_percent, at_ns)


def present(device: SimDevice, at_ns: int, kind: Kind = "compute") -> list[SimProcess]:
    """Who stands in a process list at ``at_ns``, ``follow`` aside."""
    return [p for p in device.processes
            if p.kind == kind and p.start_ns <= at_ns and (p.end_ns is None or at_ns < p.end_ns)]  # fmt: skip
