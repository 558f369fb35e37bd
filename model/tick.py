"""One reading of the host, folded into the meters of its devices: who is met, seen, missed or removed."""

from collections.abc import Sequence
from dataclasses import replace

from .claiming import in_force
from .claims import Claim
from .device_meter import DeviceMeter
from .family import SCALE, FamilyEnergy, stranded
from .holding import Sight
from .inventory import Inventory
from .reading import Device, DeviceGap, DeviceReading, GapReason, HostReading
from .segmenter import Segmenter
from .sighting import epoch_of, sight_of
from .usage import EventKind
from .workload import Attribution


class Tick:
    """To be folded once."""

    def __init__(
        self, meter: Inventory, reading: HostReading, attribution: Attribution, claims: Sequence[Claim]
    ) -> None:
        self.meter, self.reading, self.attribution = meter, reading, attribution
        self.claims = claims
        self.known = {device.device_id: device for device in reading.devices}
        self.good = {part.device_id: part for part in reading.readings if isinstance(part, DeviceReading)}
        away_ns = reading.suspended_ns - meter.suspended_ns
        self.otherwise = GapReason.SUSPEND if away_ns > reading.interval_ns else GapReason.OVERLOAD

    def fold(self) -> None:
        meter = self.meter
        for device_id, part in self.good.items():
            self._split_energy(device_id, part)
        for device_id in [name for name in meter.devices if self._is_removed(name)]:
            self._remove(device_id)
        told = set(self.good)
        for part in self.good.values():
            self._see(part)
        for gap in self.reading.readings:
            if isinstance(gap, DeviceGap) and gap.device_id in meter.devices:
                told.add(gap.device_id)
                self._miss(gap.device_id, gap.at_ns, gap.reason)
        self._expect()
        for device_id in [name for name in meter.devices if name not in told]:
            self._miss(device_id, self.reading.boot_ns, self.reading.trouble or GapReason.GPU_LOST)
        self._partition()
        for xid in self.reading.xids:
            meter.chronicle.note(EventKind.XID, xid.device_id, xid.at_ns, str(xid.code))

    def _see(self, part: DeviceReading) -> None:
        meter = self.meter.devices.get(part.device_id)
        sight = self._sight(part)
        if meter is None:
            if part.device_id in self.known:
                self._meet(sight, self.known[part.device_id])
            return
        before, was_lost = meter.sight, meter.gap_reason is GapReason.GPU_LOST and meter.sight is None
        meter.see(
            sight,
            self.reading.interval_ns,
            self.attribution.rules_version,
            self._claims_on(meter.device),
            self.otherwise,
        )
        self.meter.edges += before is None or before.holders.keys() != sight.holders.keys() or bool(sight.passed)
        if was_lost:
            self.meter.chronicle.note(EventKind.DEVICE_RETURNED, part.device_id, part.at_ns)
        if before is not None and before.epoch.number != sight.epoch.number:
            self.meter.chronicle.note(EventKind.DRIVER_EPOCH, part.device_id, part.at_ns)

    def _miss(self, device_id: str, at_ns: int, reason: GapReason) -> None:
        meter = self.meter.devices[device_id]
        if reason is GapReason.GPU_LOST and meter.gap_reason is not GapReason.GPU_LOST:
            self.meter.chronicle.note(EventKind.DEVICE_LOST, device_id, at_ns)
        meter.miss(at_ns, reason, self.reading.interval_ns, self._claims_on(meter.device))

    def _sight(self, part: DeviceReading) -> Sight:
        """On the energy scale that held until now; whoever changes it does so afterwards."""
        sight, meter = sight_of(part, self.attribution), self.meter.devices.get(part.device_id)
        device = self.known.get(part.device_id) if meter is None else meter.device
        family = self._family_of(part.device_id)
        if family is not None and device is not None and (device.slices or device.partition):
            sight.energy_mj, sight.power_mw, sight.epoch = family.of(part.device_id), None, SCALE
        return sight

    def _meet(self, sight: Sight, device: Device) -> None:
        """A device exists from the first good reading of its UUID on."""
        self._open(device, sight.at_ns, sight)
        self.meter.chronicle.note(EventKind.DEVICE_FOUND, device.device_id, sight.at_ns, device.model)

    def _open(self, device: Device, at_ns: int, sight: Sight | None) -> None:
        host = self.meter
        assert host.wall is not None
        host.expected.pop(device.device_id, None)
        told = self._claims_on(device)
        book = Segmenter(
            device=replace(device, generation=host.generations.get(device.device_id, 0)),
            settled_ns=at_ns,
            wall=host.wall,
            window_length_ns=host.window_length_ns,
            sharing=host.sharing,
            rules_version=host.rules_version,
            energy_mj=sight.energy_mj if sight else None,
            claims=in_force(told, at_ns),
            interval_ns=self.reading.interval_ns,
        )
        meter = DeviceMeter(book, sight, told=told)
        if sight is not None:
            meter.count_from(sight.energy_mj, sight.epoch)
        host.devices[device.device_id] = meter
        host.edges += 1

    def _expect(self) -> None:
        """A device of the boot before that is not there exists all the same: lost, from the first look on."""
        for device in list(self.meter.expected.values()):
            self._open(device, self.reading.boot_ns, None)

    def _is_removed(self, device_id: str) -> bool:
        """A MIG instance is gone when its GPU is read well and it is not there, or is there as another one."""
        device = self.meter.devices[device_id].device
        if device.slices is None or device.slices.parent_id not in self.good:
            return False
        now = self.known.get(device_id)
        return now is None or now.slices != device.slices

    def _remove(self, device_id: str) -> None:
        meter = self.meter.devices[device_id]
        slices, family = meter.device.slices, self._family_of(device_id)
        assert slices is not None
        at_ns = self.good[slices.parent_id].at_ns
        meter.remove(at_ns, self.reading.interval_ns, family.of(device_id) if family else None)
        self.meter.forget(device_id)
        if family is not None:
            family.totals_mj.pop(device_id, None)
        self.meter.chronicle.note(EventKind.DEVICE_REMOVED, device_id, at_ns)

    # MIG

    def _split_energy(self, device_id: str, part: DeviceReading) -> None:
        """Among those who were there since the last reading. A family begins once its GPU is read in MIG mode."""
        host, device = self.meter, self.known.get(device_id)
        family, known = host.families.get(device_id), host.devices.get(device_id)
        if part.energy_mj is None:
            return
        if family is not None and known is not None:
            family.split(part.energy_mj, part.at_ns, epoch_of(part), known.device, host.instances_of(device_id))
        elif device is not None and device.partition is not None:
            totals_mj = {device_id: part.energy_mj}
            host.families[device_id] = FamilyEnergy(part.energy_mj, part.at_ns, epoch_of(part), totals_mj)

    def _family_of(self, device_id: str) -> FamilyEnergy | None:
        device = self.known.get(device_id) or self.meter.devices[device_id].device
        return self.meter.families.get(device.slices.parent_id if device.slices else device_id)

    def _partition(self) -> None:
        """After everybody was looked at: from here on the slices are had as they are now."""
        for device_id, part in self.good.items():
            device, meter = self.known.get(device_id), self.meter.devices.get(device_id)
            if device is None or meter is None or (device.partition is None and meter.device.partition is None):
                continue
            before, now = meter.device, replace(meter.device, partition=device.partition)
            if meter.strand(now, stranded(now, self.meter.instances_of(device_id))):
                self.meter.chronicle.note(EventKind.DEVICE_CHANGED, device_id, meter.book.settled_ns)
            if before.partition is None:
                family = self._family_of(device_id)
                meter.count_from(family.of(device_id) if family else None, SCALE)
            elif now.partition is None:
                self.meter.families.pop(device_id, None)
                meter.count_from(part.energy_mj, epoch_of(part))

    def _claims_on(self, device: Device) -> tuple[Claim, ...]:
        """A claim on a GPU in MIG mode is one on each of its instances."""
        if not self.claims:
            return ()
        parent_id = device.slices.parent_id if device.slices else ""
        return tuple(claim for claim in self.claims if claim.device_id in (device.device_id, parent_id))
