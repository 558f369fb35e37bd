"""One device's time as segments without hole or overlap: where they begin and end, and what they are called.

``settled_ns`` is the edge: everything before it is in a closed segment or in the
open one. What happened in a stretch is somebody else's knowledge (device_meter.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .claims import Claim
from .closing import Closed, Open, close_segment
from .counter import Counter, counter_between
from .division import remainders
from .plain import DERIVED
from .reading import Device
from .tally import Tally
from .usage import ClockState, EnergySource, Sharing
from .window import window_start_ns
from .workload import Workload

Add = Callable[[Tally, int, int], None]
"""Books a piece of time: where, its length in ns and its energy in mJ."""


@dataclass(slots=True)
class WallMap:
    """How CLOCK_BOOTTIME lies on the wall clock, and what is known of the latter."""

    offset_ns: int
    state: ClockState = ClockState.UNKNOWN

    def wall_ns(self, boot_ns: int) -> int:
        return boot_ns + self.offset_ns


Touched = tuple[Open, int, int]
"""A segment, and from when to when something was booked in it."""

RECENT = 4
"""Closed segments that can still be revised."""


@dataclass(slots=True)
class Told:
    """A closed segment as it was told last."""

    opened: Open
    device: Device
    end_ns: int
    energy_mj: int | None
    revision: int = 0


@dataclass(slots=True)
class Segmenter:
    """Books pieces of time, which never cross the edge of a window. Reads no clock."""

    device: Device
    settled_ns: int
    wall: WallMap = field(metadata=DERIVED)
    window_length_ns: int
    sharing: Sharing = Sharing.EQUAL
    rules_version: str = ""
    energy_mj: int | None = None
    """The device's energy scale as far as it has been accounted for."""
    energy_source: EnergySource = EnergySource.NONE
    claims: tuple[Claim, ...] = ()
    """The strongest ones, in force now."""
    interval_ns: int = 0
    uncertain_ns: int = 0
    """What the edges in the stretch that is being booked may be off by: each segment that it touches says so."""
    carried: dict[Workload, tuple[int, int]] = field(default_factory=dict[Workload, tuple[int, int]])
    open: Open = field(init=False)
    closed: list[Closed] = field(default_factory=list[Closed])
    touched: list[Touched] | None = field(default=None, compare=False, metadata=DERIVED)
    """What was booked since somebody put a list here."""
    recent: list[Told] | None = field(default=None, compare=False, metadata=DERIVED)

    def __post_init__(self) -> None:
        self.open = self._open_at(self.settled_ns)

    def counter(self, until_ns: int, energy_mj: int | None) -> Counter:
        """The energy scale between what is settled and ``until_ns``."""
        return counter_between(self.settled_ns, until_ns, self.energy_mj, energy_mj)

    def spend(self, start_ns: int, end_ns: int, counter: Counter, add: Add) -> None:
        """Books a stretch, window by window."""
        while start_ns < end_ns:
            if start_ns >= self.open.edge_ns:
                self._turn_window(start_ns, counter)
            stop_ns = min(end_ns, self.open.edge_ns)
            counted = self.open.energy_start_mj is not None
            add(self.open.tally, stop_ns - start_ns, counter.between_mj(start_ns, stop_ns) if counted else 0)
            if self.touched is not None:
                self.touched.append((self.open, start_ns, stop_ns))
            start_ns = stop_ns

    def settle(self, at_ns: int, counter: Counter) -> None:
        """All time before ``at_ns`` is booked."""
        self.settled_ns, self.energy_mj = at_ns, counter.at_mj(at_ns)
        if at_ns >= self.open.edge_ns:
            self._turn_window(at_ns, counter)

    def claim(self, at_ns: int, claims: tuple[Claim, ...], counter: Counter) -> None:
        """From ``at_ns`` on these are in force: another segment, if they are others."""
        if claims != self.claims:
            self._settle_up_to(at_ns, counter)
            self.claims = claims
            self.cut()

    def cut_at(self, at_ns: int, counter: Counter) -> None:
        """Another segment from ``at_ns`` on, up to which everything has been spent."""
        self._settle_up_to(at_ns, counter)
        self.cut()

    def cut(self, stepped: bool = False) -> None:
        """Closes the open segment where the accounts stand, and begins the next one there.

        It is in the same window, unless the wall clock was ``stepped``.
        """
        if self.open.start_ns < self.settled_ns:
            self._close(self.settled_ns)
        self.open = self._open_at(self.settled_ns, None if stepped else self.open.window_start_ns)

    def restart_energy(self, energy_mj: int | None, source: EnergySource) -> None:
        """The energy scale begins anew: with a segment of its own."""
        if self.open.start_ns < self.settled_ns:
            self._close(self.settled_ns)
        self.energy_mj, self.energy_source = energy_mj, source
        self.open = self._open_at(self.settled_ns, self.open.window_start_ns)

    def become(self, device: Device) -> None:
        """The device has other attributes from here on."""
        if self.open.start_ns < self.settled_ns:
            self._close(self.settled_ns)
        self.device = device
        self.open = self._open_at(self.settled_ns, self.open.window_start_ns)

    def pace(self, interval_ns: int) -> None:
        """The cadence in force."""
        self.interval_ns = interval_ns
        self.open.interval_ns = max(self.open.interval_ns, interval_ns)

    def take_closed(self) -> list[Closed]:
        taken, self.closed = self.closed, []
        return taken

    def _settle_up_to(self, at_ns: int, counter: Counter) -> None:
        if at_ns > self.settled_ns:
            self.settle(at_ns, counter)

    def _turn_window(self, at_ns: int, counter: Counter) -> None:
        self.energy_mj = counter.at_mj(at_ns)
        following_ns = self.open.window_start_ns + self.window_length_ns
        self._close(at_ns)
        self.open = self._open_at(at_ns, following_ns)

    def _open_at(self, start_ns: int, following_ns: int | None = None) -> Open:
        wall_ns, length_ns = self.wall.wall_ns(start_ns), self.window_length_ns
        window_ns = window_start_ns(wall_ns, length_ns)
        on_grid = following_ns is not None and following_ns % length_ns == 0  # not after windows of another length
        if following_ns is not None and on_grid and -length_ns < wall_ns - following_ns < length_ns:
            window_ns = following_ns  # a slewing clock must not name one window twice
        return Open(
            start_ns=start_ns,
            edge_ns=start_ns + window_ns + length_ns - wall_ns,
            wall_start_ns=wall_ns,
            window_start_ns=window_ns,
            window_length_ns=length_ns,
            clock=self.wall.state,
            rules_version=self.rules_version,
            energy_start_mj=self.energy_mj,
            energy_source=self.energy_source,
            tally=Tally(self.sharing, self.claims, uncertainty_ns=self.uncertain_ns, carried=self.carried),
            interval_ns=self.interval_ns,
        )

    def revise(self, opened: Open) -> None:
        """What was added up in a segment has changed: if it is closed, it is told anew."""
        for told in self.recent or ():
            if told.opened is opened:
                told.revision += 1
                self.closed.append(close_segment(told.device, opened, told.end_ns, told.energy_mj, told.revision))

    def _close(self, end_ns: int) -> None:
        self.recent = [*(self.recent or ())[-RECENT:], Told(self.open, self.device, end_ns, self.energy_mj)]
        self.closed.append(close_segment(self.device, self.open, end_ns, self.energy_mj))
        self.carried = remainders(self.open.tally)
