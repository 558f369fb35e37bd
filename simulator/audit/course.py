"""The law over time: each device's rows tile its time, and no watermark says more than there is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ...proto.v1 import usage_pb2 as wire
from .segment import SLEW_NS, check_window

_NS_PER_S = 1_000_000_000


class DeviceLife(NamedTuple):
    """A device in one boot, as often as it was made."""

    host_id: str
    boot_id: str
    device_id: str
    generation: int


class Span(NamedTuple):
    """A row's place in time: CLOCK_BOOTTIME, and the window that names it (UTC)."""

    start_ns: int
    end_ns: int
    wall_start_ns: int
    window_start_ns: int
    window_length_ns: int

    def next_window_ns(self, offset_ns: int | None) -> int:
        """The window that the row after this one belongs to; ``offset_ns``: where the wall clock was stepped to."""
        if offset_ns is not None:
            wall_ns = self.end_ns + offset_ns
            return wall_ns - wall_ns % self.window_length_ns
        window_end_ns = self.window_start_ns + self.window_length_ns
        wall_end_ns = self.wall_start_ns + self.end_ns - self.start_ns
        return window_end_ns if wall_end_ns >= window_end_ns - SLEW_NS else self.window_start_ns


def span_of(segment: wire.Segment) -> Span:
    return Span(
        segment.boot_start_ns,
        segment.boot_start_ns + segment.length_ns,
        segment.wall_start_ns,
        segment.window_start_ns,
        segment.window_length_ns,
    )


@dataclass(slots=True)
class Host:
    """One host's rows and watermarks so far."""

    boot_id: str = ""
    """The boot it is in."""
    through_ns: int | None = None
    went_back: bool = False
    """Whether its wall clock went backwards since it last named a watermark: old windows are then open again."""
    last: dict[DeviceLife, Span] = field(default_factory=dict[DeviceLife, Span])
    """The newest row of each device of this boot that still exists."""
    gone: dict[DeviceLife, int] = field(default_factory=dict[DeviceLife, int])
    """Those that have ended, and when (CLOCK_BOOTTIME)."""
    expected: dict[str, int] = field(default_factory=dict[str, int])
    """Devices of the boot before without a row in this one, and the wall clock (UTC) since when they owe one."""
    up: Span | None = None
    """The newest row of the host itself."""
    stepped: tuple[int, int] | None = None
    """When the wall clock was stepped last (CLOCK_BOOTTIME), and what it shows since, less CLOCK_BOOTTIME."""

    def enter(self, boot_id: str) -> None:
        """A frame of this boot comes next. What another boot left off is the host's gap."""
        if boot_id != self.boot_id:
            self.boot_id = boot_id
            self.last.clear()
            self.gone.clear()
            self.expected.clear()
            self.up = self.stepped = None
            self.went_back = True  # whatever its clock did while the host was off

    def take_row(self, life: DeviceLife, span: Span) -> Iterator[str]:
        """A row that was not there before, in the order in which rows came."""
        if span.end_ns > self.gone.get(life, span.end_ns):
            yield "comes after its device was removed: another that bears its name has another generation"
        before = self.last.get(life)
        if before is not None and before.start_ns < span.start_ns:
            yield from _check_seam(before, span)
            self.went_back |= _offset_ns(span) < _offset_ns(before) - SLEW_NS
        if self.through_ns is not None and span.window_start_ns < self.through_ns and not self.went_back:
            yield f"comes after the watermark {self.through_ns} that says its window was complete"
        if life not in self.gone and (before is None or before.start_ns < span.start_ns):
            self.last[life] = span
            self.expected.pop(life.device_id, None)

    def take_host(self, row: wire.HostWindow) -> Iterator[str]:
        """The host was up. Its rows tile a boot as a device's do."""
        span = Span(
            row.boot_start_ns,
            row.boot_start_ns + row.length_ns,
            row.wall_start_ns,
            row.window_start_ns,
            row.window_length_ns,
        )
        if self.up is not None:
            yield from _check_seam(self.up, span)
        yield from check_window(row)
        self.up = span

    def take_gap(self, gap: wire.HostGap) -> None:
        """The host was off: the devices it had owe rows from the end of the gap on."""
        known = {life.device_id for life in self.last}
        end_ns = gap.wall_start_ns + gap.length_ns
        self.expected = {device_id: end_ns for device_id in gap.device_ids if device_id not in known}

    def take_event(self, event: wire.Event) -> None:
        """A device that is gone owes no more rows; a clock that was stepped names them otherwise."""
        if event.kind == "clock_stepped":
            self.stepped = event.boot_ns, event.wall_ns - event.boot_ns
        if event.kind in ("device_removed", "device_retired"):
            self.expected.pop(event.subject, None)
            for life in [life for life in self.last if life.device_id == event.subject]:
                if self.last[life].end_ns <= event.boot_ns:
                    del self.last[life]
                    self.gone[life] = event.boot_ns

    def take_watermark(self, through_ns: int) -> Iterator[str]:
        if self.through_ns is not None and through_ns < self.through_ns:
            yield f"the watermark goes back from {self.through_ns} to {through_ns}"
        if through_ns % _NS_PER_S:
            yield f"the watermark {through_ns} is no window's edge"
        for life, span in self.last.items():
            next_ns = span.next_window_ns(self._stepped_since(span))
            if through_ns > next_ns:
                yield f"the watermark {through_ns} passes {life.device_id}, whose rows end at {next_ns}"
        for device_id, from_ns in self.expected.items():
            if through_ns > from_ns:
                yield f"the watermark {through_ns} passes {device_id}, which has had no row since {from_ns}"
        self.through_ns, self.went_back = max(through_ns, self.through_ns or through_ns), False

    def _stepped_since(self, span: Span) -> int | None:
        if self.stepped is None or span.end_ns > self.stepped[0]:
            return None
        return self.stepped[1]


def _offset_ns(span: Span) -> int:
    return span.wall_start_ns - span.start_ns


def _check_seam(before: Span, span: Span) -> Iterator[str]:
    if span.start_ns > before.end_ns:
        yield f"leaves a hole of {span.start_ns - before.end_ns} ns before it"
    elif span.start_ns < before.end_ns:
        yield f"overlaps the row before it by {before.end_ns - span.start_ns} ns"
