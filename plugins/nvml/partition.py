"""The MIG instances of one GPU as the daemon knows them: told with its row, so all of one instant."""

from ...model.reading import Device, DeviceGap, DeviceReading, GapReason
from ...model.usage import Partition, Slices
from . import errors
from .holders import HolderCache
from .replies import InstanceRow, MigRow, Row

PREFIX = "nvidia:"

Seen = DeviceReading | DeviceGap


class Cut:
    """What a GPU is cut into, as of its latest good row."""

    __slots__ = ("_devices", "_holders", "_identities", "partition")

    def __init__(self) -> None:
        self.partition: Partition | None = None
        self._identities: list[object] = []
        self._devices: tuple[Device, ...] = ()
        self._holders: dict[str, HolderCache] = {}

    @property
    def devices(self) -> tuple[Device, ...]:
        return self._devices

    def become(self, mig: MigRow | None, parent_id: str) -> bool:
        """Whether it is cut otherwise than it was."""
        partition = None if mig is None else Partition(mig.compute_of, mig.memory_of)
        identities: list[object] = [] if mig is None else [one.identity for one in mig.instances]
        if partition == self.partition and identities == self._identities:
            return False
        self.partition, self._identities = partition, identities
        self._devices = () if mig is None else tuple(_device(one, mig, parent_id) for one in mig.instances)
        self._holders = {device.device_id: HolderCache() for device in self._devices}
        return True

    def seen(self, row: Row, epoch: int) -> tuple[Seen, ...]:
        """Each instance at the instant of the GPU's row. It counts no energy of its own."""
        if row.mig is None:
            return ()
        return tuple(self._seen(one, row.at_ns, epoch) for one in row.mig.instances)

    def gaps(self, at_ns: int, reason: GapReason) -> tuple[DeviceGap, ...]:
        """Nobody knows anything of an instance whose GPU cannot be read."""
        return tuple(DeviceGap(device.device_id, at_ns, reason) for device in self._devices)

    def _seen(self, one: InstanceRow, at_ns: int, epoch: int) -> Seen:
        device_id = PREFIX + one.uuid
        if one.code:
            return DeviceGap(device_id, at_ns, GapReason(errors.gap_reason(one.code)))
        return DeviceReading(
            device_id,
            at_ns,
            self._holders[device_id].holders(one.processes),
            one.utilization_percent,
            one.memory_used_bytes,
            epoch=epoch,
        )


def _device(one: InstanceRow, mig: MigRow, parent_id: str) -> Device:
    slices = Slices(parent_id, one.compute, mig.compute_of, one.memory, mig.memory_of)
    return Device(PREFIX + one.uuid, one.model, one.memory_bytes, slices=slices)
