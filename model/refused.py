"""Time that was metered but could not be kept: an exact gap, never a silent loss.

Either a full log refused it, or the log gave it up later: at its cap (``dropped``), or to damage (``log_damaged``).
"""

from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import reduce
from itertools import pairwise

from .counter import Counter
from .identity import records_digest
from .interval import Interval
from .reading import GapReason
from .refused_parts import first_windows
from .uptime import Uptime
from .usage import Batch, DeviceWindow, Event, EventKind, HostGap, HostWindow

NO_RECORDS = records_digest(())
SAME_CLOCK_NS = 100_000_000
"""Neighbouring rows whose wall clocks agree so well are one stretch."""
MAX_STRETCHES = 16
"""Of one device; beyond that neighbours are joined whatever lies between them, so that a checkpoint stays small.

Those with nothing between them first; before others would have to be, what comes is refused: see ``is_at_bound``.
"""

MAX_EVENTS = 64
JUDGED_BY = (EventKind.DEVICE_REMOVED, EventKind.DEVICE_RETIRED, EventKind.CLOCK_STEPPED)
"""A device owes rows until one of the first two, and the third names them otherwise: see what a watermark says."""

Device = tuple[str, str, int]
"""Boot, device and generation."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The stretches that were given up, however long the log stays full. A value: ``with_batch`` gives a new one.

    Each stretch has one reason, in its ``unobserved_ns``. A row that was a gap already, all of it and for one
    reason, keeps that; of any other the whole time is a gap for the reason it was given up for.

    What the host itself was up to is kept, in as few pieces, and the events without which the rows around
    cannot be judged; other events, and what workloads used apart from devices, are not: where they are
    missing, the rows say why.
    """

    stretches: dict[Device, tuple[DeviceWindow, ...]] = field(default_factory=dict[Device, tuple[DeviceWindow, ...]])
    up: dict[str, tuple[HostWindow, ...]] = field(default_factory=dict[str, tuple[HostWindow, ...]])
    """By boot."""
    host_gaps: tuple[tuple[str, HostGap], ...] = ()
    events: tuple[tuple[str, Event], ...] = ()
    """By boot as well, the newest MAX_EVENTS of JUDGED_BY."""

    def __bool__(self) -> bool:
        return bool(self.stretches or self.up or self.host_gaps or self.events)

    def with_batch(self, batch: Batch, reason: GapReason = GapReason.BUFFER_FULL) -> "Refused":
        """What the batch said is given up; that this time existed is not."""
        found = dict(self.stretches)
        for row in batch.rows:
            if row.revision:
                continue  # what it would say better is kept, or refused, already
            device = batch.boot_id, row.segment.device_id, row.segment.generation
            found[device] = _extended(found.get(device, ()), _given_up(row, reason))
        up = dict(self.up)
        for window in batch.hosts:
            up[batch.boot_id] = _lengthened(up.get(batch.boot_id, ()), window)
        gaps = ((batch.boot_id, gap) for gap in batch.host_gaps)
        events = ((batch.boot_id, event) for event in batch.events if event.kind in JUDGED_BY)
        return self._with(found, up, gaps, events)

    def is_at_bound(self, batch: Batch) -> bool:
        """Whether no more than this can be told apart, and the batch goes on where it ends.

        Were the batch kept and the one behind it refused, a stretch would span time that was kept.
        """
        for row in batch.rows:
            stretches = self.stretches.get((batch.boot_id, row.segment.device_id, row.segment.generation), ())
            if len(stretches) >= MAX_STRETCHES and _between_ns(stretches[-1], row) == 0 and _are_apart(stretches):
                return True
        return False

    def with_others(self, others: "Refused") -> "Refused":
        """Both: of the same time each of them tells only once."""
        found, up = dict(self.stretches), dict(self.up)
        for device, stretches in others.stretches.items():
            found[device] = reduce(_extended, stretches, found.get(device, ()))
        for boot_id, windows in others.up.items():
            up[boot_id] = reduce(_lengthened, windows, up.get(boot_id, ()))
        return self._with(found, up, others.host_gaps, others.events)

    def _with(
        self,
        found: dict[Device, tuple[DeviceWindow, ...]],
        up: dict[str, tuple[HostWindow, ...]],
        gaps: Iterable[tuple[str, HostGap]],
        events: Iterable[tuple[str, Event]],
    ) -> "Refused":
        """Each of them once: after an error of the disk it may be given up again."""
        all_gaps = tuple(dict.fromkeys((*self.host_gaps, *gaps)))
        all_events = tuple(dict.fromkeys((*self.events, *events)))
        return Refused(found, up, all_gaps[-MAX_STRETCHES:], all_events[-MAX_EVENTS:])

    def first(self, most_rows: int) -> tuple["Refused", "Refused"]:
        """What can be told in about so many rows, the oldest of each device, and what then is left to tell."""
        most = max(most_rows // max(len(self.stretches) + len(self.up), 1), 1)
        told: dict[Device, tuple[DeviceWindow, ...]] = {}
        rest: dict[Device, tuple[DeviceWindow, ...]] = {}
        for device, stretches in self.stretches.items():
            told[device], rest[device] = first_windows(stretches, most)
        up: dict[str, tuple[HostWindow, ...]] = {}
        rest_up: dict[str, tuple[HostWindow, ...]] = {}
        for boot_id, windows in self.up.items():
            up[boot_id], rest_up[boot_id] = first_windows(windows, most)
        left = Refused({d: each for d, each in rest.items() if each}, {b: each for b, each in rest_up.items() if each})
        return Refused(told, up, self.host_gaps, self.events), left

    def batches(self, host_id: str) -> list[Batch]:
        """The gaps as rows again, cut at the edges of windows; one batch for each boot, in no order."""
        apart = (boot_id for boot_id, _ in (*self.host_gaps, *self.events))
        told = [*(boot_id for boot_id, _, _ in self.stretches), *self.up, *apart]
        return [
            Batch(
                host_id,
                boot_id,
                rows=tuple(self._rows(boot_id)),
                hosts=tuple(row for stretch in self.up.get(boot_id, ()) for row in _host_rows(stretch)),
                host_gaps=tuple(gap for of_boot, gap in self.host_gaps if of_boot == boot_id),
                events=tuple(event for of_boot, event in self.events if of_boot == boot_id),
            )
            for boot_id in dict.fromkeys(told)
        ]

    def _rows(self, of_boot: str) -> Iterator[DeviceWindow]:
        for (boot_id, _, _), stretches in self.stretches.items():
            if boot_id == of_boot:
                for stretch in stretches:
                    yield from _by_window(stretch)


def _given_up(row: DeviceWindow, reason: GapReason) -> DeviceWindow:
    length_ns = row.segment.boot.length_ns
    was_gap = len(row.unobserved_ns) == 1 and row.unobserved_ns[0][1] == length_ns
    return row if was_gap else replace(row, unobserved_ns=((reason.value, length_ns),))


def _reason(stretch: DeviceWindow) -> str:
    return stretch.unobserved_ns[0][0] if stretch.unobserved_ns else GapReason.BUFFER_FULL.value


def _extended(stretches: tuple[DeviceWindow, ...], row: DeviceWindow) -> tuple[DeviceWindow, ...]:
    """In the order of time, whatever comes first: what was told as a gap may be dropped in its turn.

    What is in them already changes nothing: after an error of the disk it may be given up again.
    """
    found, time = list(stretches), row.segment.boot
    if any(each.segment.boot.start_ns <= time.start_ns and time.end_ns <= each.segment.boot.end_ns for each in found):
        return stretches
    place = bisect(found, row.segment.boot.start_ns, key=lambda stretch: stretch.segment.boot.start_ns)
    found.insert(place, row)
    for earlier in (place, place - 1):
        if 0 <= earlier < len(found) - 1 and _follows(found[earlier], found[earlier + 1]):
            found[earlier : earlier + 2] = [_joined(found[earlier], found[earlier + 1])]
    if len(found) > MAX_STRETCHES:
        nearest = min(range(len(found) - 1), key=lambda n: _between_ns(found[n], found[n + 1]))
        found[nearest : nearest + 2] = [_joined(found[nearest], found[nearest + 1])]
    return tuple(found)


def _are_apart(stretches: tuple[DeviceWindow, ...]) -> bool:
    return all(_between_ns(earlier, later) for earlier, later in pairwise(stretches))


def _between_ns(earlier: DeviceWindow, later: DeviceWindow) -> int:
    return later.segment.boot.start_ns - earlier.segment.boot.end_ns


def _follows(earlier: DeviceWindow, later: DeviceWindow) -> bool:
    """Whether both are one stretch: no other time, reason, clock, window length or driver epoch between them."""
    one, other = earlier.segment, later.segment
    drift_ns = (other.wall_start_ns - other.boot.start_ns) - (one.wall_start_ns - one.boot.start_ns)
    return (
        one.boot.end_ns == other.boot.start_ns
        and _reason(earlier) == _reason(later)
        and abs(drift_ns) < SAME_CLOCK_NS
        and one.window_length_ns == other.window_length_ns
        and (one.slices, one.partition) == (other.slices, other.partition)
        and _stranded_rate(earlier) == _stranded_rate(later)
        and earlier.energy_end_mj == later.energy_start_mj
    )


def _stranded_rate(row: DeviceWindow) -> tuple[Fraction, Fraction]:
    """Slices that no instance had: the same number throughout a segment."""
    length_ns = row.segment.boot.length_ns
    return Fraction(row.stranded_compute_ns, length_ns), Fraction(row.stranded_memory_ns, length_ns)


def _lengthened(stretches: tuple[HostWindow, ...], window: HostWindow) -> tuple[HostWindow, ...]:
    if any(each.boot.start_ns <= window.boot.start_ns and window.boot.end_ns <= each.boot.end_ns for each in stretches):
        return stretches
    if stretches and stretches[-1].boot.end_ns == window.boot.start_ns:
        last = stretches[-1]
        drift_ns = (window.wall_start_ns - window.boot.start_ns) - (last.wall_start_ns - last.boot.start_ns)
        if abs(drift_ns) < SAME_CLOCK_NS and last.window_length_ns == window.window_length_ns:
            return *stretches[:-1], replace(last, boot=Interval(last.boot.start_ns, window.boot.end_ns))
    return (*stretches, window)[-MAX_STRETCHES:]


def _host_rows(stretch: HostWindow) -> list[HostWindow]:
    """A row for each window that the stretch touches."""
    up = Uptime(start_ns=stretch.boot.start_ns)
    offset_ns = stretch.wall_start_ns - stretch.boot.start_ns
    up.reach(stretch.boot.start_ns, offset_ns, stretch.window_length_ns, stretch.clock)
    up.reach(stretch.boot.end_ns, offset_ns, stretch.window_length_ns, stretch.clock)
    up.cut()
    return up.take_closed()


def _joined(earlier: DeviceWindow, later: DeviceWindow) -> DeviceWindow:
    """Stretches that differ in slices or reason are joined only at the bound; those of the later are then lost."""
    boot = Interval(earlier.segment.boot.start_ns, max(earlier.segment.boot.end_ns, later.segment.boot.end_ns))
    counted = earlier.energy_end_mj is not None and earlier.energy_end_mj == later.energy_start_mj
    compute, memory = _stranded_rate(earlier)
    return replace(
        earlier,
        segment=replace(earlier.segment, boot=boot),
        stranded_compute_ns=int(compute * boot.length_ns),
        stranded_memory_ns=int(memory * boot.length_ns),
        interval_ns=max(earlier.interval_ns, later.interval_ns),
        energy_start_mj=earlier.energy_start_mj if counted else None,
        energy_end_mj=later.energy_end_mj if counted else None,
    )


def _by_window(stretch: DeviceWindow) -> Iterator[DeviceWindow]:
    """A row for each window that the stretch touches; energy is spread evenly, to the millijoule."""
    whole, length_ns = stretch.segment, stretch.segment.window_length_ns
    counter = Counter(whole.boot.start_ns, whole.boot.end_ns, stretch.energy_start_mj, stretch.energy_end_mj)
    offset_ns, start_ns = whole.wall_start_ns - whole.boot.start_ns, whole.boot.start_ns
    window_ns = whole.window_start_ns
    while start_ns < whole.boot.end_ns:
        end_ns = max(min(whole.boot.end_ns, window_ns + length_ns - offset_ns), start_ns)
        if end_ns > start_ns:
            boot = Interval(start_ns, end_ns)
            segment = replace(whole, boot=boot, wall_start_ns=start_ns + offset_ns, window_start_ns=window_ns)
            yield _gap(stretch, counter, segment.boot, replace(stretch, segment=segment))
        start_ns, window_ns = end_ns, window_ns + length_ns


def _gap(stretch: DeviceWindow, counter: Counter, boot: Interval, row: DeviceWindow) -> DeviceWindow:
    counted = stretch.energy_start_mj is not None and stretch.energy_end_mj is not None
    compute, memory = _stranded_rate(stretch)
    whole = stretch.segment.partition is None  # else its instances' rows say what is not known of them
    return replace(
        row,
        idle_ns=0,
        unobserved_ns=((_reason(stretch), boot.length_ns),) if whole else (),
        stranded_compute_ns=int(compute * boot.length_ns),
        stranded_memory_ns=int(memory * boot.length_ns),
        record_count=0,
        records_digest=NO_RECORDS,
        energy_start_mj=counter.at_mj(boot.start_ns) if counted else None,
        energy_end_mj=counter.at_mj(boot.end_ns) if counted else None,
        idle_energy_mj=0,
        unobserved_energy_mj=counter.between_mj(boot.start_ns, boot.end_ns) if counted else 0,
    )
