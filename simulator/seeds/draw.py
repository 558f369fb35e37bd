"""From a seed to a script. The same seed gives the same script, on any machine and for ever."""

from random import Random

from .crowd import Crowd, draw_jobs, draw_tenants
from .faults import FAULTS
from .plan import Plan
from .script import Gpu, Kind, Power, Rules, S, Script

GIB = 1 << 30
_QUIET_START_NS = 60 * S
_QUIET_END_NS = 90 * S


def draw(seed: int, minutes: int = 30, cadence_s: float | None = None) -> Script:
    """``cadence_s``: how far the ticks are apart where nothing goes wrong; None: drawn, from 2 to 10."""
    rng = Random(seed)
    every_s = cadence_s or rng.choice((2.0, 3.0, 5.0, 10.0))
    gpus = tuple(_draw_gpu(rng, number, minutes) for number in range(rng.randrange(1, 4)))
    jobs = draw_jobs(rng, rng.randrange(3, 8))
    rules = [Rules(-(1 << 62), draw_tenants(rng, jobs))]
    plan = Plan(rng, minutes * 60 * S, every_s, rng.choice((every_s, 10.0, 15.0)), gpus, rules)
    _draw_faults(plan, max(5, minutes // 60) + rng.randrange(4))
    return _freeze(seed, plan, jobs)


def _draw_faults(plan: Plan, count: int) -> None:
    """Each in a slot of its own."""
    slot_ns = (plan.length_ns - _QUIET_START_NS - _QUIET_END_NS) // count
    for number in range(count):
        from_ns = _QUIET_START_NS + number * slot_ns
        kind = plan.rng.choice(tuple(Kind))
        longest_ns = min(slot_ns, 300 * S)
        plan.faults.append(FAULTS[kind](plan, from_ns, from_ns + longest_ns - 20 * S))


def _freeze(seed: int, plan: Plan, jobs: list) -> Script:
    return Script(
        seed=seed,
        length_ns=plan.length_ns,
        every_s=plan.every_s,
        idle_every_s=plan.idle_every_s,
        fine_s=plan.rng.choice((0.5, 1.0)),
        window_s=plan.rng.choice((10, 30, 60, 60, 60, 300)),
        gpus=plan.gpus,
        boots=tuple(plan.boots),
        lives=tuple(plan.lives),
        rules=tuple(plan.rules),
        processes=tuple(Crowd(plan, jobs).draw()),
        faults=tuple(plan.faults),
        answer_ns=plan.rng.choice((0, 0, 2_000_000, 40_000_000)),
    )


def _draw_gpu(rng: Random, number: int, minutes: int) -> Gpu:
    changes = sorted(rng.randrange(minutes * 60) * S for _ in range(rng.randrange(4)))
    before_ns = -rng.randrange(1, 10**6) * S
    power = tuple(Power(at_ns, rng.randrange(40_000, 700_000)) for at_ns in (before_ns, *changes))
    uuid = f"{rng.getrandbits(128):032x}"
    return Gpu(f"nvidia:GPU-{uuid}", "NVIDIA H100 80GB HBM3", 80 * GIB, power, rng.randrange(101))
