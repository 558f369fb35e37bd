"""Time that was told in frames which are lost: found between what was told before and after, and told as a gap.

Of each device and boot the rows tile its time, so what is missing between two rows of frames that are left, with a
lost frame between them, is what the lost frames told. Nothing is known of the rows of a device that begin and end
inside, with none before or none after; the ledger's own check of the tiling shows such time where it has rows.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from .interval import Interval
from .meter import Meter
from .reading import GapReason
from .refused import Device, Refused
from .usage import Batch, DeviceWindow, HostWindow
from .window import window_start_ns

AFTER_ALL = 2**63
"""Behind every frame there can be."""
_TOLD_LATE = {GapReason.DROPPED.value, GapReason.LOG_DAMAGED.value, GapReason.BUFFER_FULL.value}


@dataclass(slots=True)
class Untold:
    """Fed with the batches that are left, in their order. ``lost``: ranges of seq, first and last, in order."""

    lost: tuple[tuple[int, int], ...]
    reason: GapReason = GapReason.LOG_DAMAGED
    _dropped: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """As ``lost``: what retention dropped."""
    _dropped_ns: dict[Device, list[tuple[int, int]]] = field(default_factory=dict[Device, list[tuple[int, int]]])
    """(newest seq, ns) of each Skip that has some of the device."""
    _rows: dict[Device, tuple[int, DeviceWindow]] = field(default_factory=dict[Device, tuple[int, DeviceWindow]])
    """The row that reaches farthest, and in which frame it was."""
    _hosts: dict[str, tuple[int, HostWindow]] = field(default_factory=dict[str, tuple[int, HostWindow]])
    _gaps: dict[Device, list[DeviceWindow]] = field(default_factory=dict[Device, list[DeviceWindow]])
    _up: dict[str, list[HostWindow]] = field(default_factory=dict[str, list[HostWindow]])

    def add_skip(self, first_seq: int, last_seq: int, lost_ns: Iterable[tuple[Device, int]]) -> None:
        """Frames that retention dropped, and the time that was in them: before any batch, and in their order."""
        self._dropped.append((first_seq, last_seq))
        for device, ns in lost_ns:
            self._dropped_ns.setdefault(device, []).append((last_seq, ns))

    @property
    def unplaced_ns(self) -> dict[Device, int]:
        """Time that was dropped, of devices without any row: nobody knows when it was."""
        return {
            device: sum(ns for _, ns in dropped)
            for device, dropped in self._dropped_ns.items()
            if device not in self._rows
        }

    def add(self, seq: int, batch: Batch) -> None:
        for row in batch.rows:
            self._add_row(seq, (batch.boot_id, row.segment.device_id, row.segment.generation), row)
        for window in batch.hosts:
            before = self._hosts.get(batch.boot_id)
            self._reach_host(seq, batch.boot_id, window.boot.start_ns)
            if before is None or window.boot.end_ns >= before[1].boot.end_ns:
                self._hosts[batch.boot_id] = seq, window

    def add_open(self, meter: Meter) -> None:
        """What the checkpoint that goes with the newest frame still has open: it begins where the newest rows end."""
        for name, device in meter.devices.items():
            told = meter.boot_id, name, device.device.generation
            self._reach(AFTER_ALL, told, device.book.open.start_ns, None)
        if meter.uptime.start_ns is not None:
            self._reach_host(AFTER_ALL, meter.boot_id, meter.uptime.start_ns)

    def refused(self, known: Refused | None = None) -> Refused:
        """What must be told instead of the lost frames, but for what is ``known`` to be told anyway."""
        known = known or Refused()
        gaps = {device: _outside(found, known.stretches.get(device, ())) for device, found in self._gaps.items()}
        up = {boot_id: _up_outside(found, known.up.get(boot_id, ())) for boot_id, found in self._up.items()}
        return Refused(
            {device: found for device, found in gaps.items() if found},
            {boot_id: windows for boot_id, windows in up.items() if windows},
        )

    def _add_row(self, seq: int, device: Device, row: DeviceWindow) -> None:
        # It may say again what another row said that is lost: better, or as a gap that was told late.
        self._gaps[device] = [part for gap in self._gaps.get(device, ()) for part in _without(gap, row)]
        before = self._rows.get(device)
        if before is None and not self._begin(seq, device, row):
            return
        self._reach(seq, device, row.segment.boot.start_ns, row)
        if before is None or row.segment.boot.end_ns >= before[1].segment.boot.end_ns:
            self._rows[device] = seq, row

    def _begin(self, seq: int, device: Device, row: DeviceWindow) -> bool:
        """What was dropped right before the first row that is left. False: where that row stands tells nothing."""
        ns = sum(ns for last_seq, ns in self._dropped_ns.get(device, ()) if last_seq < seq)
        if not ns:
            return True
        if row.revision or {reason for reason, _ in row.unobserved_ns} & _TOLD_LATE:
            return False
        end_ns = row.segment.boot.start_ns
        if end_ns > 0:
            boot = Interval(max(end_ns - ns, 0), end_ns)
            self._gaps[device].append(_gap(row, boot, GapReason.DROPPED))
        return True

    def _reach(self, seq: int, device: Device, start_ns: int, row: DeviceWindow | None) -> None:
        before = self._rows.get(device)
        reason = self._why(before[0], seq) if before and before[1].segment.boot.end_ns < start_ns else None
        if before and reason:
            self._gaps.setdefault(device, []).append(_between(before[1], start_ns, row, reason))

    def _reach_host(self, seq: int, boot_id: str, start_ns: int) -> None:
        before = self._hosts.get(boot_id)
        if before and before[1].boot.end_ns < start_ns and self._why(before[0], seq):
            self._up.setdefault(boot_id, []).append(_host_at(before[1], before[1].boot.end_ns, start_ns))

    def _why(self, before_seq: int, after_seq: int) -> GapReason | None:
        """Why time is missing between two frames; None: it is not."""
        if _is_any_between(self._dropped, before_seq, after_seq):
            return GapReason.DROPPED
        return self.reason if _is_any_between(self.lost, before_seq, after_seq) else None


def _is_any_between(lost: Sequence[tuple[int, int]], before_seq: int, after_seq: int) -> bool:
    place = bisect_left(lost, (before_seq, 0))
    return place < len(lost) and lost[place][0] < after_seq


def _between(before: DeviceWindow, start_ns: int, after: DeviceWindow | None, reason: GapReason) -> DeviceWindow:
    """One stretch from the end of ``before`` to ``start_ns``; named by the wall clock as it was then."""
    counted = _counted(before, after)
    return replace(
        _gap(before, Interval(before.segment.boot.end_ns, start_ns), reason),
        energy_start_mj=before.energy_end_mj if counted else None,
        energy_end_mj=after.energy_start_mj if after and counted else None,
    )


def _gap(row: DeviceWindow, boot: Interval, reason: GapReason) -> DeviceWindow:
    return replace(
        _at(row, boot),
        unobserved_ns=((reason.value, boot.length_ns),),
        energy_start_mj=None,
        energy_end_mj=None,
        revision=0,
    )


def _counted(before: DeviceWindow, after: DeviceWindow | None) -> bool:
    """Whether one counter was read at both ends."""
    if after is None or before.energy_end_mj is None or after.energy_start_mj is None:
        return False
    return before.energy_source == after.energy_source and before.energy_end_mj <= after.energy_start_mj


def _at(row: DeviceWindow, boot: Interval) -> DeviceWindow:
    """The row's device in another stretch; with as many slices that nobody had."""
    segment = row.segment
    was_ns = segment.boot.length_ns
    wall_ns = segment.wall_start_ns + boot.start_ns - segment.boot.start_ns
    moved = replace(
        segment,
        boot=boot,
        wall_start_ns=wall_ns,
        window_start_ns=window_start_ns(wall_ns, segment.window_length_ns),
    )
    return replace(
        row,
        segment=moved,
        stranded_compute_ns=row.stranded_compute_ns * boot.length_ns // was_ns,
        stranded_memory_ns=row.stranded_memory_ns * boot.length_ns // was_ns,
    )


def _outside(gaps: Sequence[DeviceWindow], known: Sequence[DeviceWindow]) -> tuple[DeviceWindow, ...]:
    for row in known:
        gaps = [part for gap in gaps for part in _without(gap, row)]
    return tuple(gaps)


def _up_outside(windows: Sequence[HostWindow], known: Sequence[HostWindow]) -> tuple[HostWindow, ...]:
    for told in known:
        windows = [
            _host_at(window, boot.start_ns, boot.end_ns)
            for window in windows
            for boot in _parts(window.boot, told.boot)
        ]
    return tuple(windows)


def _host_at(window: HostWindow, start_ns: int, end_ns: int) -> HostWindow:
    """The same clock in another stretch."""
    wall_ns = window.wall_start_ns + start_ns - window.boot.start_ns
    window_ns = window_start_ns(wall_ns, window.window_length_ns)
    return replace(window, boot=Interval(start_ns, end_ns), wall_start_ns=wall_ns, window_start_ns=window_ns)


def _parts(whole: Interval, told: Interval) -> list[Interval]:
    """What of the whole is not told."""
    edges = (
        (whole.start_ns, min(told.start_ns, whole.end_ns)),
        (max(told.end_ns, whole.start_ns), whole.end_ns),
    )
    return [Interval(start_ns, end_ns) for start_ns, end_ns in edges if start_ns < end_ns]


def _without(gap: DeviceWindow, row: DeviceWindow) -> list[DeviceWindow]:
    """What of the gap lies outside the row; its energy is then not known."""
    whole, told = gap.segment.boot, row.segment.boot
    if told.end_ns <= whole.start_ns or whole.end_ns <= told.start_ns:
        return [gap]
    return [
        replace(
            _at(gap, boot),
            unobserved_ns=tuple((reason, boot.length_ns) for reason, _ in gap.unobserved_ns),
            energy_start_mj=None,
            energy_end_mj=None,
        )
        for boot in _parts(whole, told)
    ]
