"""One function for each thing that may go wrong: draws its details, and writes what it does into the plan.

Each is given the stretch of time that it has for itself, at least a minute.
"""

from collections.abc import Callable, Mapping
from typing import Final

from .plan import Plan
from .script import Ending, Fault, Kind, S

Draw = Callable[[Plan, int, int], Fault]
_KILLS: Final = (Ending.KILLED, Ending.KILLED, Ending.KILLED_BEFORE_COMMIT, Ending.KILLED_AFTER_COMMIT)
STOP_NS: Final = 20 * S
"""What a graceful stop may take, and a bit."""


def crash(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    # An arbitrary instant: to the nanosecond, not on any grid.
    at_ns = from_ns + plan.rng.randrange(10 * S)
    ending = plan.rng.choice(_KILLS)
    pause_ns = plan.rng.choice((S, 5 * S, until_ns - at_ns - 5 * S))
    start_ns = at_ns + S + plan.rng.randrange(pause_ns)
    plan.break_life(at_ns, ending, start_ns)
    return Fault(Kind.CRASH, at_ns, start_ns, f"the daemon is {ending}")


def restart(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    at_ns = from_ns + plan.rng.randrange(10 * S)
    start_ns = at_ns + STOP_NS + plan.rng.randrange(until_ns - at_ns - STOP_NS)
    plan.break_life(at_ns, Ending.STOPPED, start_ns)
    return Fault(Kind.RESTART, at_ns, start_ns, "the daemon is stopped and started")


def reboot(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    """With or without a graceful stop of the daemon before it."""
    at_ns = from_ns + plan.draw_ns(0, 10)
    is_clean = plan.rng.random() < 0.5
    down_ns = at_ns + STOP_NS if is_clean else at_ns
    up_ns = down_ns + plan.draw_ns(1, (until_ns - down_ns) / S / 2)
    start_ns = up_ns + plan.rng.randrange(S, until_ns - up_ns)
    plan.break_life(at_ns, Ending.STOPPED if is_clean else Ending.KILLED, start_ns)
    plan.break_boot(down_ns, up_ns)
    return Fault(Kind.REBOOT, at_ns, start_ns, "the host " + ("is rebooted" if is_clean else "loses its power"))


FAULTS: Final[Mapping[Kind, Draw]] = {
    Kind.CRASH: crash,
    Kind.RESTART: restart,
    Kind.REBOOT: reboot,
}
