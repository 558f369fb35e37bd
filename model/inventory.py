"""The devices of one host during one boot: which exist, how each is metered, and which are gone."""

from dataclasses import dataclass, field

from .chronicle import Chronicle
from .closing import Closed
from .device_meter import DeviceMeter
from .family import FamilyEnergy
from .reading import Device
from .segmenter import WallMap
from .usage import EventKind, Sharing
from .workload import Holder


@dataclass(slots=True)
class Inventory:
    """A device exists from its first good reading to its observed removal, or until an operator retires it."""

    host_id: str
    boot_id: str
    window_length_ns: int
    sharing: Sharing = Sharing.EQUAL
    rules_version: str = ""
    wall: WallMap | None = None
    devices: dict[str, DeviceMeter] = field(default_factory=dict[str, DeviceMeter])
    expected: dict[str, Device] = field(default_factory=dict[str, Device])
    """Devices of the boot before, not met in this one yet. They exist all the same."""
    generations: dict[str, int] = field(default_factory=dict[str, int])
    """How often a device of this id has been removed."""
    families: dict[str, FamilyEnergy] = field(default_factory=dict[str, FamilyEnergy])
    chronicle: Chronicle = field(default_factory=Chronicle)
    suspended_ns: int = 0
    closed: list[Closed] = field(default_factory=list[Closed])
    """Of devices that are gone."""
    edges: int = 0
    """Grows whenever a hold begins or ends: what a checkpoint should not miss."""

    def retire(self, device_id: str) -> bool:
        """An operator's word that a device will not come back: it exists no more. False: there is none of this id."""
        meter = self.devices.get(device_id)
        if meter is None:
            return self.expected.pop(device_id, None) is not None
        meter.book.cut()
        self.chronicle.note(EventKind.DEVICE_RETIRED, device_id, meter.book.settled_ns)
        self.forget(device_id)
        return True

    def forget(self, device_id: str) -> None:
        """It exists no more; what it closed is still to be told. Should it come back, it is another one."""
        self.closed += self.devices.pop(device_id).take_closed()
        self.generations[device_id] = self.generations.get(device_id, 0) + 1
        self.edges += 1

    def holders_of(self, device_id: str) -> list[Holder]:
        """Who held the device when it was last seen."""
        sight = self.devices[device_id].sight
        return list(sight.holders.values()) if sight else []

    def instances_of(self, parent_id: str) -> list[Device]:
        """The MIG instances of a GPU."""
        found = (meter.device for meter in self.devices.values())
        return [device for device in found if device.slices is not None and device.slices.parent_id == parent_id]
