"""How a simulated GPU is cut into MIG devices, and cut anew."""

import uuid
from collections.abc import Iterable
from dataclasses import replace

from .nouns import Schedule, SimDevice, SimInstance


def mig_uuid(gpu_uuid: str, gpu_instance: int, compute_instance: int) -> str:
    """The same for the same ids on the same GPU, however often it is created: as on real boards."""
    return f"MIG-{uuid.uuid5(uuid.NAMESPACE_OID, f'{gpu_uuid}/{gpu_instance}/{compute_instance}')}"


def uuid_of(device: SimDevice, instance: SimInstance) -> str:
    return instance.uuid or mig_uuid(device.uuid, instance.gpu_instance, instance.compute_instance)


def name_of(device: SimDevice, instance: SimInstance) -> str:
    return f"{device.name} MIG {instance.profile or f'{instance.compute_slices}g'}"


def laid_out(device: SimDevice, instances: Iterable[SimInstance]) -> SimDevice:
    """All that was there is destroyed, also what has the ids of a new one."""
    cut = replace(device, mig="enabled", instances=())
    for instance in instances:
        cut = with_instance(cut, instance)
    return cut


def with_instance(device: SimDevice, instance: SimInstance) -> SimDevice:
    others = tuple(known for known in device.instances if _ids(known) != _ids(instance))
    index = instance.index
    if index is None:
        old = [known.index for known in device.instances if _ids(known) == _ids(instance)]
        taken = {known.index for known in others}
        index = old[0] if old else next(free for free in range(len(taken) + 1) if free not in taken)
    changes = device.mig_changes + 1
    created = replace(instance, index=index, generation=changes)
    return replace(device, instances=(*others, created), mig_changes=changes)


def without_instance(device: SimDevice, gpu_instance: int, compute_instance: int) -> SimDevice:
    gone = (gpu_instance, compute_instance)
    if gone not in {_ids(known) for known in device.instances}:
        raise KeyError(f"no MIG device {gone} on {device.uuid}")
    return replace(device, instances=tuple(known for known in device.instances if _ids(known) != gone))


def with_activity(device: SimDevice, gpu_instance: int, compute_instance: int, percent: Schedule) -> SimDevice:
    changed = (
        replace(known, utilization_percent=percent) if _ids(known) == (gpu_instance, compute_instance) else known
        for known in device.instances
    )
    return replace(device, instances=tuple(changed))


def _ids(instance: SimInstance) -> tuple[int, int]:
    return instance.gpu_instance, instance.compute_instance
