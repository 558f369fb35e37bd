"""The meter of a host: readings, owners and claims go in, closed segments come out.

It decides everything about time and nothing about disks or networks; it reads no
clock, so a test may hand it a year in a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .chronicle import Chronicle
from .claiming import in_force
from .claims import Claim
from .closing import Closed
from .consumption import Consumed, Where
from .device_meter import DeviceMeter
from .family import SCALE, FamilyEnergy, stranded
from .holding import Sight
from .interval import Interval
from .reading import Device, DeviceGap, DeviceReading, GapReason, HostReading
from .segmenter import Segmenter, WallMap
from .sighting import epoch_of, sight_of
from .uptime import Uptime
from .usage import Batch, ClockState, EventKind, HostGap, Sharing
from .window import window_start_ns
from .workload import Attribution, Holder, ProcessId, Workload
from .workload_meter import WorkloadMeter

STEP_NS = 100_000_000
"""A wall clock that moves further than this between two readings was stepped, not slewed."""


@dataclass(slots=True)
class Meter:
    """All devices of one host during one boot."""

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
    uptime: Uptime = field(default_factory=Uptime)
    chronicle: Chronicle = field(default_factory=Chronicle)
    workloads: WorkloadMeter = field(default_factory=WorkloadMeter)
    complete_through_ns: int | None = None
    was_synced: bool = False
    suspended_ns: int = 0
    before_boot: HostGap | None = None
    """The gap since the boot before; its end is not known until the first reading."""
    host_gaps: list[HostGap] = field(default_factory=list[HostGap])
    closed: list[Closed] = field(default_factory=list[Closed])
    """Of devices that are gone."""
    edges: int = 0
    """Grows whenever a hold begins or ends: what a checkpoint should not miss."""

    def due(self, reading: HostReading, attribution: Attribution) -> dict[Workload, Where]:
        """Workloads whose counters are wanted with this reading: at most ticks none. To be asked before ``observe``."""
        self.workloads.window_length_ns = self.window_length_ns
        holders = self._everybody(reading, attribution)
        return self.workloads.due(holders, reading.boot_ns, reading.wall_ns - reading.boot_ns)

    def observe(
        self,
        reading: HostReading,
        attribution: Attribution,
        claims: Sequence[Claim] = (),
        consumed: Mapping[Workload, Consumed] | None = None,
    ) -> Batch | None:
        """Folds one tick in. Returns what closed, or None. ``consumed``: of those that were due, if anybody read it."""
        offset_ns = reading.wall_ns - reading.boot_ns
        stepped = self.wall is not None and abs(offset_ns - self.wall.offset_ns) > STEP_NS
        for device in self.devices.values():
            device.note_ended(attribution.ended)
        if self.wall is None:
            self._begin(reading, offset_ns)
        elif not stepped:
            self.wall.offset_ns = offset_ns
            self.wall.state = reading.clock
        self.chronicle.offset_ns = offset_ns
        if consumed is not None:
            holders = self._everybody(reading, attribution)
            self.workloads.fold(holders, reading.boot_ns, self.uptime_offset_ns(offset_ns), consumed)
        edges = self.edges
        _Tick(self, reading, attribution, claims).fold()
        self._note_workloads(attribution, edges, reading)
        for device in self.devices.values():
            device.forget_ended()
        self.rules_version = attribution.rules_version
        self.suspended_ns = reading.suspended_ns
        if stepped:
            self._step(reading, offset_ns)
        self.uptime.reach(reading.boot_ns, self.uptime_offset_ns(offset_ns), self.window_length_ns, reading.clock)
        return self._take(reading)

    def uptime_offset_ns(self, offset_ns: int) -> int:
        """A clock that is slewed does not begin a new row of the host at every tick."""
        known_ns = self.uptime.offset_ns
        return offset_ns if self.uptime.start_ns is None or abs(offset_ns - known_ns) > STEP_NS else known_ns

    def cut(self) -> Batch | None:
        """Closes every segment where its accounts stand: a graceful stop leaves nothing waiting."""
        for device in self.devices.values():
            device.book.cut()
        self.uptime.cut()
        self.workloads.cut()
        return self._take(None)

    def reconfigure(self, window_length_ns: int, sharing: Sharing) -> None:
        """Other settings hold from here on: what is open closes under the old ones."""
        if (window_length_ns, sharing) == (self.window_length_ns, self.sharing):
            return
        self.window_length_ns, self.sharing = window_length_ns, sharing
        for device in self.devices.values():
            device.book.window_length_ns, device.book.sharing = window_length_ns, sharing
            device.book.cut()

    def follow(self, former: "Meter", reason: str) -> None:
        """Takes over from the boot before: its devices exist, and from its last word on there is a gap.

        ``former`` must have been cut. Nothing of it is inferred.
        """
        self.complete_through_ns = former.complete_through_ns
        whole = {name: meter.device for name, meter in former.devices.items() if meter.device.slices is None}
        self.expected = {name: replace(device, partition=None) for name, device in {**former.expected, **whole}.items()}
        last_ns = [former.wall.wall_ns(m.book.settled_ns) for m in former.devices.values() if former.wall]
        if last_ns:
            start_ns = max(last_ns)
            self.before_boot = HostGap(Interval(start_ns, start_ns + 1), former.boot_id, reason, tuple(self.expected))

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

    def _everybody(self, reading: HostReading, attribution: Attribution) -> tuple[Holder, ...]:
        """Who holds any device, as far as is known: on one that cannot be read now, who held it last."""
        told = tuple(attribution.holders.values())
        good = {part.device_id for part in reading.readings if isinstance(part, DeviceReading)}
        if len(good) >= len(self.devices):
            return told
        unseen = {
            process: holder
            for device_id, meter in self.devices.items()
            if device_id not in good and meter.sight is not None
            for process, holder in meter.sight.holders.items()
        }
        return *told, *(holder for process, holder in unseen.items() if process.pid not in attribution.holders)

    def _begin(self, reading: HostReading, offset_ns: int) -> None:
        """The first reading of a boot."""
        self.wall = WallMap(offset_ns, reading.clock)
        self.suspended_ns = reading.suspended_ns
        gap, self.before_boot = self.before_boot, None
        if gap is not None and reading.wall_ns > gap.wall.start_ns:
            self.host_gaps.append(replace(gap, wall=Interval(gap.wall.start_ns, reading.wall_ns)))

    def _note_workloads(self, attribution: Attribution, edges: int, reading: HostReading) -> None:
        """On a device that cannot be read, whoever was there may be there still."""
        if self.edges == edges:
            return
        held: dict[ProcessId, Holder] = {}
        for meter in self.devices.values():
            held.update(meter.sight.holders if meter.sight else {})
        dark = any(meter.sight is None for meter in self.devices.values())
        self.chronicle.note_workloads(held, attribution.ended, reading.boot_ns, all_seen=not dark)

    def _step(self, reading: HostReading, offset_ns: int) -> None:
        """Time is neither lost nor made: only the windows' names change. The first segment after it says so."""
        assert self.wall is not None
        by_ns = offset_ns - self.wall.offset_ns
        self.wall.offset_ns, self.wall.state = offset_ns, ClockState.STEPPED
        for device in self.devices.values():
            device.book.cut(stepped=True)
        self.wall.state = reading.clock
        self.chronicle.note(EventKind.CLOCK_STEPPED, "", reading.boot_ns, f"by {by_ns} ns")

    def _take(self, reading: HostReading | None) -> Batch | None:
        closed, self.closed = self.closed, []
        closed += [done for device_id in sorted(self.devices) for done in self.devices[device_id].take_closed()]
        hosts, gaps, workloads = tuple(self.uptime.take_closed()), tuple(self.host_gaps), self.workloads.take_closed()
        self.host_gaps = []
        through_ns, moved = self._watermark(reading)
        if not (closed or moved or hosts or gaps or workloads):
            return None
        return Batch(
            host_id=self.host_id,
            boot_id=self.boot_id,
            records=tuple(record for done in closed for record in done.records),
            rows=tuple(done.row for done in closed),
            complete_through_ns=through_ns,
            workloads=workloads,
            hosts=hosts,
            host_gaps=gaps,
            events=self.chronicle.take(),
        )

    def _watermark(self, reading: HostReading | None) -> tuple[int | None, bool]:
        """What is complete, and whether that is news. A clock that lost its synchronisation vouches for nothing."""
        if reading is not None:
            self.was_synced |= reading.clock is ClockState.SYNCED
            if self.was_synced and reading.clock is ClockState.UNSYNCED:
                return None, False
        open_ns = self._earliest_open(None if reading is None else reading.wall_ns)
        # After a step backwards windows are open again that were complete once: then nothing is said of it.
        through_ns = open_ns if open_ns is not None and open_ns >= (self.complete_through_ns or open_ns) else None
        moved = through_ns is not None and through_ns != self.complete_through_ns
        self.complete_through_ns = through_ns if moved else self.complete_through_ns
        return through_ns, moved

    def _earliest_open(self, wall_ns: int | None) -> int | None:
        """The first window that some device has not closed; on a host without devices the present one."""
        if not self.devices and wall_ns is not None:
            return window_start_ns(wall_ns, self.window_length_ns)
        return min((device.book.open.window_start_ns for device in self.devices.values()), default=None)


class _Tick:
    """One reading being folded in."""

    def __init__(self, meter: Meter, reading: HostReading, attribution: Attribution, claims: Sequence[Claim]) -> None:
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
