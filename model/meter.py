"""The meter of a host: readings, owners and claims go in, closed segments come out.

It decides everything about time and nothing about disks or networks; it reads no
clock, so a test may hand it a year in a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .claims import Claim
from .consumption import Consumed, Where
from .interval import Interval
from .inventory import Inventory
from .reading import DeviceReading, HostReading
from .segmenter import WallMap
from .tick import Tick
from .uptime import Uptime
from .usage import Batch, ClockState, EventKind, HostGap, Sharing
from .window import window_start_ns
from .workload import Attribution, Holder, NewRules, ProcessId, Workload
from .workload_meter import WorkloadMeter

STEP_NS = 100_000_000
"""A wall clock that moves further than this between two readings was stepped, not slewed."""


@dataclass(slots=True)
class Meter(Inventory):
    """All that is metered of one host during one boot."""

    uptime: Uptime = field(default_factory=Uptime)
    workloads: WorkloadMeter = field(default_factory=WorkloadMeter)
    complete_through_ns: int | None = None
    was_synced: bool = False
    before_boot: HostGap | None = None
    """The gap since the boot before; its end is not known until the first reading."""
    host_gaps: list[HostGap] = field(default_factory=list[HostGap])

    def due(self, reading: HostReading, attribution: Attribution) -> dict[Workload, Where]:
        """Workloads whose counters are wanted with this reading: at most ticks none. To be asked before ``observe``."""
        self.workloads.window_length_ns = self.window_length_ns
        holders = self._everybody(reading, attribution)
        offset_ns = reading.wall_ns - reading.boot_ns
        return self.workloads.due(holders, reading.boot_ns, offset_ns, everybody=attribution.changing is not None)

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
        Tick(self, reading, attribution, claims).fold()
        self._note_workloads(attribution, edges, reading)
        for device in self.devices.values():
            device.forget_ended()
        self.rules_version = attribution.rules_version
        if attribution.changing is not None:
            self._change_rules(attribution.changing, reading.boot_ns)
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

    def _change_rules(self, rules: NewRules, at_ns: int) -> None:
        """All that lies before this reading is booked by the former ones."""
        self.rules_version = rules.version
        for device in self.devices.values():
            device.change_rules(rules)
        self.workloads.change_owners(rules.owners, at_ns)
        self.edges += 1

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
