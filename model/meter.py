"""The meter of a host: readings and owners go in, closed segments come out.

It decides everything about time and nothing about disks or networks; it reads no
clock, so a test may hand it a year in a second.
"""

from dataclasses import dataclass, field

from .device_meter import DeviceMeter, WallMap
from .holding import Sight
from .reading import Device, DeviceReading, GapReason, HostReading
from .usage import Batch, ClockState, Sharing
from .window import window_start_ns
from .workload import Attribution, Holder

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
    complete_through_ns: int | None = None
    edges: int = 0
    """Grows whenever a hold begins or ends: what a checkpoint should not miss."""

    def observe(self, reading: HostReading, attribution: Attribution) -> Batch | None:
        """Folds one tick in. Returns what closed, or None."""
        offset_ns = reading.wall_ns - reading.boot_ns
        stepped = self.wall is not None and abs(offset_ns - self.wall.offset_ns) > STEP_NS
        for device in self.devices.values():
            device.note_ended(attribution.ended)
        if self.wall is None:
            self.wall = WallMap(offset_ns)
        elif not stepped:
            self.wall.offset_ns = offset_ns
        self._observe_devices(reading, attribution)
        for device in self.devices.values():
            device.forget_ended()
        self.rules_version = attribution.rules_version
        if stepped:
            self._step(self.wall, offset_ns)
        return self._take(reading.wall_ns)

    def cut(self) -> Batch | None:
        """Closes every segment where its accounts stand: a graceful stop leaves nothing waiting."""
        for device in self.devices.values():
            device.cut()
        return self._take(None)

    def reconfigure(self, window_length_ns: int, sharing: Sharing) -> None:
        """Other settings hold from here on: what is open closes under the old ones."""
        if (window_length_ns, sharing) == (self.window_length_ns, self.sharing):
            return
        self.window_length_ns, self.sharing = window_length_ns, sharing
        for device in self.devices.values():
            device.window_length_ns, device.sharing = window_length_ns, sharing
            device.cut()

    def holders_of(self, device_id: str) -> list[Holder]:
        """Who held the device when it was last seen."""
        sight = self.devices[device_id].sight
        return list(sight.holders.values()) if sight else []

    def _observe_devices(self, reading: HostReading, attribution: Attribution) -> None:
        told = {part.device_id: part for part in reading.readings}
        for device_id, part in told.items():
            if isinstance(part, DeviceReading):
                self._see(part, reading, attribution)
            elif device_id in self.devices:
                self.devices[device_id].miss(part.at_ns, part.reason, reading.interval_ns)
        for device_id in self.devices.keys() - told.keys():
            reason = reading.trouble or GapReason.GPU_LOST
            self.devices[device_id].miss(reading.boot_ns, reason, reading.interval_ns)

    def _see(self, part: DeviceReading, reading: HostReading, attribution: Attribution) -> None:
        meter = self.devices.get(part.device_id)
        sight = _sight(part, attribution)
        if meter is None:
            self._meet(sight, next(d for d in reading.devices if d.device_id == part.device_id))
            return
        before = meter.sight
        meter.see(sight, reading.interval_ns, attribution.rules_version)
        self.edges += before is None or before.holders.keys() != sight.holders.keys()

    def _meet(self, sight: Sight, device: Device) -> None:
        """A device exists from the first good reading of its UUID on."""
        assert self.wall is not None
        self.devices[device.device_id] = DeviceMeter(
            device=device,
            settled_ns=sight.at_ns,
            wall=self.wall,
            window_length_ns=self.window_length_ns,
            sharing=self.sharing,
            rules_version=self.rules_version,
            sight=sight,
            energy_mj=sight.energy_mj,
        )
        self.edges += 1

    def _step(self, wall: WallMap, offset_ns: int) -> None:
        """Time is neither lost nor made: only the windows' names change. The first segment after it says so."""
        wall.offset_ns, wall.state = offset_ns, ClockState.STEPPED
        for device in self.devices.values():
            device.cut(stepped=True)
        wall.state = ClockState.UNKNOWN

    def _take(self, wall_ns: int | None) -> Batch | None:
        closed = [done for device_id in sorted(self.devices) for done in self.devices[device_id].take_closed()]
        open_ns = self._earliest_open(wall_ns)
        # After a step backwards windows are open again that were complete once: then nothing is said of it.
        through_ns = open_ns if open_ns is not None and open_ns >= (self.complete_through_ns or open_ns) else None
        moved = through_ns is not None and through_ns != self.complete_through_ns
        self.complete_through_ns = through_ns if moved else self.complete_through_ns
        if not closed and not moved:
            return None
        return Batch(
            host_id=self.host_id,
            boot_id=self.boot_id,
            records=tuple(record for done in closed for record in done.records),
            rows=tuple(done.row for done in closed),
            complete_through_ns=through_ns,
        )

    def _earliest_open(self, wall_ns: int | None) -> int | None:
        """The first window that some device has not closed; on a host without devices the present one."""
        if not self.devices and wall_ns is not None:
            return window_start_ns(wall_ns, self.window_length_ns)
        return min((device.open.window_start_ns for device in self.devices.values()), default=None)


def _sight(part: DeviceReading, attribution: Attribution) -> Sight:
    owned = [(attribution.holders[row.pid], row) for row in part.processes]
    return Sight(
        part.at_ns,
        {holder.process: holder for holder, _ in owned},
        {holder.process: row.memory_bytes for holder, row in owned if row.memory_bytes is not None},
        {holder.process: row.sm_percent for holder, row in owned if row.sm_percent is not None},
        part.utilization_percent,
        part.energy_mj,
    )
