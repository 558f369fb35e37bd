"""A GPU in MIG mode and its instances: how its slices are had, and how its energy is split among them.

The driver counts energy for the whole GPU only. What was counted between two readings is split by
slices among the instances that were there, and what nobody had goes to the GPU itself: each member
of the family then has an energy scale of its own, and no millijoule is told twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from .energy import Epoch, Growth, judge
from .reading import Device
from .share import share_out
from .usage import EnergySource

SCALE = Epoch(EnergySource.SLICES)
"""Of all members: a counter that begins anew takes nothing from what they had, so their scales only grow."""


def stranded(parent: Device, instances: Iterable[Device]) -> tuple[int, int]:
    """Compute and memory slices that no instance has. Never negative, whatever a driver says."""
    if parent.partition is None:
        return 0, 0
    compute, memory = parent.partition
    had = [device.slices for device in instances if device.slices is not None]
    return max(compute - sum(s.compute for s in had), 0), max(memory - sum(s.memory for s in had), 0)


@dataclass(slots=True)
class FamilyEnergy:
    """The counter of a GPU in MIG mode, and what each member has had of it since the family was met."""

    counted_mj: int
    counted_ns: int
    epoch: Epoch
    totals_mj: dict[str, int] = field(default_factory=dict[str, int])

    def split(self, now_mj: int, at_ns: int, epoch: Epoch, parent: Device, instances: Iterable[Device]) -> None:
        """Splits what was counted since the last time among those who were there, by compute slices."""
        growth = judge(self.counted_mj, now_mj, at_ns - self.counted_ns, epoch == self.epoch)
        grown_mj = {Growth.ON: now_mj - self.counted_mj, Growth.FROM_ZERO: now_mj, Growth.ANEW: 0}[growth]
        self.counted_mj, self.counted_ns, self.epoch = now_mj, at_ns, epoch
        members = tuple(instances)
        weights = {device.device_id: device.slices.compute for device in members if device.slices is not None}
        weights[parent.device_id] = stranded(parent, members)[0]
        for device_id, part_mj in share_out(grown_mj, weights).items():
            self.totals_mj[device_id] = self.totals_mj.get(device_id, 0) + part_mj

    def of(self, device_id: str) -> int:
        """What a member has had of it."""
        return self.totals_mj.get(device_id, 0)
