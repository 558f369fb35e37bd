"""One function for each thing that may go wrong: draws its details, and writes what it does into the plan.

Each is given the stretch of time that it has for itself, at least a minute, and
begins in the first ten seconds of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from .crowd import draw_tenants
from .mig import recut
from .plan import Plan
from .script import (
    GRID_NS,
    Blind,
    Ending,
    Fault,
    Glitch,
    Kind,
    Loss,
    Process,
    Restart,
    Rules,
    S,
    Step,
    Stretch,
    Use,
)

Draw = Callable[[Plan, int, int], Fault]
STOP_NS: Final = 20 * S
"""What a graceful stop may take, and a bit."""
ONCE_NS: Final = 400_000_000
"""A driver in trouble tells nonsense once: shorter than any two readings are apart."""
_KILLS: Final = (Ending.KILLED, Ending.KILLED, Ending.KILLED_BEFORE_COMMIT, Ending.KILLED_AFTER_COMMIT)
_STEPS_S: Final = (1, 7, 90, 3_600, 86_400, 5 * 86_400)


# The daemon and its host.


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


def suspend(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    stretch = _draw_stretch(plan, from_ns, until_ns)
    plan.suspends.append(stretch)
    return Fault(Kind.SUSPEND, stretch.from_ns, stretch.until_ns, "the host is suspended")


def step(plan: Plan, from_ns: int, _until_ns: int) -> Fault:
    at_ns = from_ns + plan.rng.randrange(10 * S)
    by_ns = plan.rng.choice(_STEPS_S) * plan.rng.choice((S, -S)) + plan.rng.randrange(S)
    plan.steps.append(Step(at_ns, by_ns))
    return Fault(Kind.STEP, at_ns, at_ns, f"the wall clock is stepped by {by_ns / S:+.9f} s")


def rules(plan: Plan, from_ns: int, _until_ns: int) -> Fault:
    at_ns = from_ns + plan.rng.randrange(10 * S)
    plan.rules.append(Rules(at_ns, draw_tenants(plan.rng, plan.jobs)))
    return Fault(Kind.RULES, at_ns, at_ns, "other tenants answer for the workloads from now on")


def released(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    stretch = _draw_stretch(plan, from_ns, until_ns)
    plan.releases.append(stretch)
    return Fault(Kind.RELEASED, stretch.from_ns, stretch.until_ns, "the daemon is told to let go of the driver")


# The driver and its GPUs.


def hang(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    return _blind(plan, Kind.HANG, from_ns, until_ns, "nvml_hang", "hangs in the driver")


def hang_all(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    stretch = _draw_stretch(plan, from_ns, until_ns)
    plan.blinds.append(Blind(None, stretch.from_ns, stretch.until_ns, "nvml_hang"))
    return Fault(Kind.HANG_ALL, stretch.from_ns, stretch.until_ns, "the driver hangs")


def garbage(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    """Either the probe does not believe the reading, or only the energy counter is nonsense."""
    until_ns = min(until_ns, from_ns + 40 * S)
    if plan.rng.random() < 0.5:
        return _blind(plan, Kind.GARBAGE, from_ns, until_ns, "bad_reading", "tells garbage")
    at_ns, device_id = from_ns + plan.rng.randrange(10 * S), plan.draw_gpu().device_id
    stretch = Stretch(at_ns, at_ns + ONCE_NS)
    mj = plan.rng.choice((0, 1, plan.rng.getrandbits(40), (1 << 64) - 1))
    plan.glitches.append(Glitch(device_id, stretch.from_ns, stretch.until_ns, mj))
    words = f"tells that it has used {mj} mJ so far"
    return Fault(Kind.GARBAGE, stretch.from_ns, stretch.until_ns, words, device_id)


def lost(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    """It may come back under another index, and with a counter that begins anew."""
    fault = _blind(plan, Kind.LOST, from_ns, until_ns, "gpu_lost", "falls off the bus, and returns")
    assert fault.device_id is not None
    if plan.rng.random() < 0.5:
        plan.restarts.append(Restart(fault.device_id, fault.until_ns, evident=True))
    if plan.rng.random() < 0.5:
        order = list(range(len(plan.gpus)))
        plan.rng.shuffle(order)
        plan.orders.append((fault.until_ns, tuple(order)))
    return fault


def reload(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    """Nobody can hold a device meanwhile: the module is not unloaded under anybody."""
    stretch = _draw_stretch(plan, from_ns, until_ns)
    plan.closed.append(stretch)
    plan.blinds.append(Blind(None, stretch.from_ns, stretch.until_ns, "driver_reload"))
    at_ns = plan.rng.randrange(stretch.from_ns, stretch.until_ns)
    plan.restarts += [Restart(gpu.device_id, at_ns, evident=True) for gpu in plan.gpus]
    return Fault(Kind.RELOAD, stretch.from_ns, stretch.until_ns, "the driver is loaded anew")


def reset(plan: Plan, from_ns: int, _until_ns: int) -> Fault:
    device_id = plan.draw_gpu().device_id
    at_ns = from_ns + plan.rng.randrange(10 * S)
    plan.restarts.append(Restart(device_id, at_ns, evident=False))
    return Fault(Kind.RESET, at_ns, at_ns, "its energy counter begins at 0, and nothing says so", device_id)


def mig(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    """An instance is destroyed, and after a while it, or something else, is made in its place."""
    stretch = _draw_stretch(plan, from_ns, until_ns)
    gpu = plan.rng.choice([gpu for gpu in plan.gpus if gpu.mig])
    words = recut(plan, gpu, stretch)
    return Fault(Kind.MIG, stretch.from_ns, stretch.until_ns, words, gpu.device_id)


# The processes.


def pid_reuse(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    """Two tenants' processes follow each other on a device within a moment, under one pid."""
    device_id = plan.rng.choice(plan.holdable)
    at_ns = _on_grid((from_ns + until_ns) // 2) + plan.draw_ns(-10, 10)
    next_ns = at_ns + plan.draw_ns(0, plan.rng.choice((0.01, 0.5)))
    pid, (one, other) = plan.draw_pid(), plan.rng.sample(plan.jobs, 2)
    for job, start_ns, end_ns in ((one, _on_grid(from_ns), at_ns), (other, next_ns, _on_grid(until_ns))):
        plan.processes.append(Process(pid, job, start_ns, end_ns, (Use(device_id, start_ns, end_ns, S),)))
    return Fault(Kind.PID_REUSE, at_ns, next_ns, f"pid {pid} ends and is somebody else's at once", device_id)


def short(plan: Plan, from_ns: int, _until_ns: int) -> Fault:
    """Some processes that come and go between two ticks."""
    device_id = plan.rng.choice(plan.holdable)
    first_ns = _on_grid(from_ns) + plan.draw_ns(0, 10)
    at_ns = first_ns
    for _ in range(plan.rng.randrange(1, 6)):
        end_ns = at_ns + plan.draw_ns(0.05, 1.5)
        job = plan.rng.choice(plan.jobs)
        plan.processes.append(Process(plan.draw_pid(), job, at_ns, end_ns, (Use(device_id, at_ns, end_ns, S),)))
        at_ns = end_ns + plan.draw_ns(0.01, 3)
    return Fault(Kind.SHORT, first_ns, at_ns, "processes come and go in a moment", device_id)


# The log and the collector.


def away(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    stretch = _draw_stretch(plan, from_ns, until_ns)
    plan.aways.append(stretch)
    return Fault(Kind.AWAY, stretch.from_ns, stretch.until_ns, "the collector does not answer")


def restored(plan: Plan, from_ns: int, _until_ns: int) -> Fault:
    at_ns = from_ns + plan.rng.randrange(10 * S)
    age_ns = plan.rng.randrange(10 * S, 100 * S)
    plan.losses.append(Loss(at_ns, age_ns))
    return Fault(Kind.RESTORED, at_ns, at_ns, f"the ledger is restored from a backup {age_ns / S:.0f} s old")


def slow_disk(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    """Readings wait for a commit until their mailbox is full; what comes then is lost."""
    stretch = _draw_stretch(plan, from_ns, until_ns)
    plan.slow.append(stretch)
    return Fault(Kind.SLOW_DISK, stretch.from_ns, stretch.until_ns, "the disk makes every commit wait")


def full_log(plan: Plan, from_ns: int, until_ns: int) -> Fault:
    stretch = _draw_stretch(plan, from_ns, until_ns)
    plan.full.append(stretch)
    return Fault(Kind.FULL_LOG, stretch.from_ns, stretch.until_ns, "the log has no room for frames")


def _blind(plan: Plan, kind: Kind, from_ns: int, until_ns: int, reason: str, words: str) -> Fault:
    stretch = _draw_stretch(plan, from_ns, until_ns)
    device_id = plan.draw_gpu().device_id
    plan.blinds.append(Blind(device_id, stretch.from_ns, stretch.until_ns, reason))
    return Fault(kind, stretch.from_ns, stretch.until_ns, words, device_id)


def _draw_stretch(plan: Plan, from_ns: int, until_ns: int) -> Stretch:
    """Often short, so that what it hides may yet be bridged."""
    at_ns = from_ns + plan.rng.randrange(10 * S)
    longest_ns = plan.rng.choice((3 * S, 30 * S, until_ns - at_ns))
    return Stretch(at_ns, min(at_ns + S // 2 + plan.rng.randrange(longest_ns), until_ns))


def _on_grid(at_ns: int) -> int:
    return -(-at_ns // GRID_NS) * GRID_NS


FAULTS: Final[Mapping[Kind, Draw]] = {
    Kind.CRASH: crash,
    Kind.RESTART: restart,
    Kind.REBOOT: reboot,
    Kind.SUSPEND: suspend,
    Kind.RELEASED: released,
    Kind.HANG: hang,
    Kind.HANG_ALL: hang_all,
    Kind.LOST: lost,
    Kind.GARBAGE: garbage,
    Kind.RELOAD: reload,
    Kind.RESET: reset,
    Kind.STEP: step,
    Kind.PID_REUSE: pid_reuse,
    Kind.SHORT: short,
    Kind.MIG: mig,
    Kind.RULES: rules,
    Kind.AWAY: away,
    Kind.RESTORED: restored,
    Kind.SLOW_DISK: slow_disk,
    Kind.FULL_LOG: full_log,
}

_WHILE_DOWN: Final = (Kind.HANG, Kind.LOST, Kind.STEP, Kind.RULES, Kind.AWAY, Kind.GARBAGE, Kind.RESET)
"""What may happen besides, where no process can be about it."""
_ANY_TIME: Final = (*_WHILE_DOWN, Kind.HANG_ALL, Kind.PID_REUSE, Kind.SHORT)
COMPANIONS: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    **dict.fromkeys(Kind, (Kind.STEP, Kind.AWAY, Kind.RULES, Kind.HANG, Kind.RESET, Kind.FULL_LOG)),
    Kind.CRASH: (*_ANY_TIME, Kind.FULL_LOG, Kind.SLOW_DISK, Kind.RELOAD),
    Kind.RESTART: _ANY_TIME,
    Kind.REBOOT: _WHILE_DOWN,
    Kind.SUSPEND: _WHILE_DOWN,
    Kind.RELOAD: _WHILE_DOWN,
}
"""What may happen in the same stretch of time as each."""


def without_impossible(plan: Plan) -> None:
    """A clock that was set forward makes acknowledged frames old: they may be trimmed, and no ledger restored."""
    if any(each.by_ns > 30 * S for each in plan.steps):
        plan.losses.clear()
        plan.faults = [replace(each, words="nothing") if each.kind is Kind.RESTORED else each for each in plan.faults]
