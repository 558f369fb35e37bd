"""From a seed to a script. The same seed gives the same script, on any machine and for ever."""

from random import Random

from .crowd import Crowd, draw_jobs, draw_leases, draw_tenants
from .faults import COMPANIONS, FAULTS, without_impossible
from .mig import cut
from .plan import FAR_NS, Plan
from .script import Gpu, Kind, Power, Rules, S, Script

GIB = 1 << 30
_QUIET_START_NS = 60 * S
_QUIET_END_NS = 90 * S
_LONGEST_NS = 300 * S
_BETWEEN_NS = 20 * S


def draw(seed: int, minutes: int = 30, cadence_s: float | None = None, kinds: tuple[Kind, ...] = tuple(Kind)) -> Script:
    """``cadence_s``: how far the ticks are apart where nothing goes wrong; None: drawn, from 2 to 10.

    ``kinds``: what may go wrong; each seed has at least five of them.
    """
    rng = Random(seed)
    every_s = cadence_s or rng.choice((2.0, 3.0, 5.0, 10.0))
    jobs = draw_jobs(rng, rng.randrange(3, 8))
    plan = Plan(
        rng=rng,
        length_ns=minutes * 60 * S,
        every_s=every_s,
        idle_every_s=cadence_s or rng.choice((every_s, 10.0, 15.0)),
        window_s=rng.choice((10, 30, 60, 60, 60, 300)),
        gpus=tuple(_draw_gpu(rng, minutes) for _ in range(rng.randrange(1, 4))),
        jobs=jobs,
        rules=[Rules(-FAR_NS, draw_tenants(rng, jobs))],
    )
    for gpu in plan.gpus:
        if gpu.mig:
            cut(plan, gpu)
    _draw_faults(plan, max(5, minutes // 60) + rng.randrange(4), kinds)
    without_impossible(plan)
    return _freeze(seed, plan)


def _draw_faults(plan: Plan, count: int, kinds: tuple[Kind, ...]) -> None:
    """Each in a slot of its own; some have company."""
    slot_ns = (plan.length_ns - _QUIET_START_NS - _QUIET_END_NS) // count
    for number in range(count):
        from_ns = _QUIET_START_NS + number * slot_ns
        until_ns = from_ns + min(slot_ns, _LONGEST_NS) - _BETWEEN_NS
        kind = plan.rng.choice(_possible(plan, kinds))
        plan.faults.append(FAULTS[kind](plan, from_ns, until_ns))
        others = [each for each in COMPANIONS[kind] if each in kinds and each is not kind]
        if others and plan.rng.random() < 0.4:
            begin_ns = from_ns + plan.rng.randrange((until_ns - from_ns) // 2)
            plan.faults.append(FAULTS[plan.rng.choice(others)](plan, begin_ns, until_ns))


def _possible(plan: Plan, kinds: tuple[Kind, ...]) -> list[Kind]:
    can_be_cut = any(gpu.mig for gpu in plan.gpus)
    found = [kind for kind in kinds if kind is not Kind.MIG or can_be_cut]
    return found or [Kind.CRASH]


def _freeze(seed: int, plan: Plan) -> Script:
    fine_s = plan.rng.choice((0.5, 1.0))
    return Script(
        seed=seed,
        length_ns=plan.length_ns,
        every_s=plan.every_s,
        idle_every_s=plan.idle_every_s,
        fine_s=fine_s,
        window_s=plan.window_s,
        gpus=plan.gpus,
        boots=tuple(plan.boots),
        lives=tuple(plan.lives),
        rules=tuple(sorted(plan.rules, key=lambda each: each.at_ns)),
        processes=tuple(Crowd(plan).draw()),
        faults=tuple(plan.faults),
        answer_ns=plan.rng.choice((0, 0, 2_000_000, 40_000_000)),
        connector=plan.rng.random() < 0.5,
        hang_ns=round(plan.rng.choice((0.5, 1.5)) * fine_s * S),
        blinds=tuple(plan.blinds),
        restarts=tuple(plan.restarts),
        glitches=tuple(plan.glitches),
        orders=tuple(sorted(plan.orders)),
        instances=tuple(plan.instances),
        leases=tuple(sorted(draw_leases(plan), key=lambda each: each.start_ns)),
        steps=tuple(sorted(plan.steps, key=lambda each: each.at_ns)),
        suspends=tuple(plan.suspends),
        releases=tuple(plan.releases),
        aways=tuple(plan.aways),
        losses=tuple(sorted(plan.losses, key=lambda each: each.at_ns)),
        breaks_percent=plan.rng.choice((0, 1, 5)),
        slow=tuple(plan.slow),
        full=tuple(plan.full),
    )


def _draw_gpu(rng: Random, minutes: int) -> Gpu:
    changes = sorted(rng.randrange(minutes * 60) * S for _ in range(rng.randrange(4)))
    before_ns = -rng.choice((10**3, 10**6)) * S
    return Gpu(
        device_id=f"nvidia:GPU-{rng.getrandbits(128):032x}",
        model="NVIDIA H100 80GB HBM3",
        memory_bytes=80 * GIB,
        power=tuple(Power(at_ns, rng.randrange(40_000, 700_000)) for at_ns in (before_ns, *changes)),
        utilization_percent=rng.randrange(101),
        mig=rng.random() < 0.25,
        accounting=rng.random() < 0.3,
    )
