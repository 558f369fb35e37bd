"""How GPUs are cut into MIG instances, and cut again."""

from random import Random

from .plan import FAR_NS, Plan
from .script import COMPUTE_SLICES, MEMORY_SLICES, Gpu, Instance, Stretch

PROFILES = ((1, 1), (1, 2), (2, 2), (3, 4), (4, 4), (7, 8))
"""Compute and memory slices, as the hardware has them."""


def cut(plan: Plan, gpu: Gpu) -> None:
    """A first layout, from the beginning of time on."""
    for _ in range(plan.rng.randrange(1, 5)):
        made = _draw(plan.rng, plan, gpu, _uuid(plan.rng), Stretch(-FAR_NS, FAR_NS))
        if made is not None:
            plan.instances.append(made)


def recut(plan: Plan, gpu: Gpu, stretch: Stretch) -> str:
    """One instance goes at the beginning of the stretch; at its end another is made, perhaps under its id."""
    there = [each for each in plan.instances if each.parent_id == gpu.device_id and each.gone_ns == FAR_NS]
    if not there:
        made = _draw(plan.rng, plan, gpu, _uuid(plan.rng), Stretch(stretch.until_ns, FAR_NS))
        plan.instances += [made] if made else []
        return "an instance is made"
    old = plan.rng.choice(there)
    plan.instances.remove(old)
    plan.instances.append(Instance(old.device_id, old.parent_id, old.compute, old.memory, old.made_ns, stretch.from_ns))
    device_id = old.device_id if plan.rng.random() < 0.7 else _uuid(plan.rng)
    if plan.rng.random() < 0.5:
        made = Instance(device_id, old.parent_id, old.compute, old.memory, stretch.until_ns, FAR_NS)
    else:
        made = _draw(plan.rng, plan, gpu, device_id, Stretch(stretch.until_ns, FAR_NS))
    if made is not None:
        plan.instances.append(made)
    return f"{old.device_id} is destroyed; later {made.device_id if made else 'nothing'} is made"


def _draw(rng: Random, plan: Plan, gpu: Gpu, device_id: str, stretch: Stretch) -> Instance | None:
    """Of the slices that are free in all of the stretch; None: there are too few."""
    mine = [each for each in plan.instances if each.parent_id == gpu.device_id and each.gone_ns > stretch.from_ns]
    compute = COMPUTE_SLICES - sum(each.compute for each in mine)
    memory = MEMORY_SLICES - sum(each.memory for each in mine)
    fitting = [profile for profile in PROFILES if profile[0] <= compute and profile[1] <= memory]
    if not fitting:
        return None
    has = rng.choice(fitting)
    return Instance(device_id, gpu.device_id, *has, stretch.from_ns, stretch.until_ns)


def _uuid(rng: Random) -> str:
    return f"nvidia:MIG-{rng.getrandbits(128):032x}"
