"""One device's time, accounted for without hole or overlap from its first good reading on.

``settled_ns`` is the edge: everything before it is in a closed segment or in the
open one. Each observation moves it forward by exactly the time that it explains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .closing import Closed, Open, close_segment, remainders
from .counter import Counter, counter_between
from .crew import Crew
from .holding import Sight, held_between
from .interval import NS_PER_S
from .plain import DERIVED
from .reading import Device, GapReason
from .tally import CROWDED, GONE, Quality, Tally, sharers_of
from .usage import ClockState, Sharing
from .window import window_start_ns
from .workload import Holder, ProcessId, Workload

MAX_INFERRED_NS = 24 * 3600 * NS_PER_S
"""Over more than a day nothing is inferred."""

RESUME_WITHIN_NS = 60 * NS_PER_S
"""How long a new life waits for a driver that starts slowly before it gives up what the former one saw."""

PATIENCE = 3
"""Intervals over which one reading may hold; beyond that it is a gap, not an extrapolation."""

Add = Callable[[int, int], None]
"""Books a piece of time: its length in ns and its energy in mJ."""


@dataclass(slots=True)
class WallMap:
    """How CLOCK_BOOTTIME lies on the wall clock, and what is known of the latter."""

    offset_ns: int
    state: ClockState = ClockState.UNKNOWN

    def wall_ns(self, boot_ns: int) -> int:
        return boot_ns + self.offset_ns


@dataclass(slots=True)
class DeviceMeter:
    """Folds sights and gaps of one device into segments. Reads no clock: the wiring hands it each instant."""

    device: Device
    settled_ns: int
    wall: WallMap = field(metadata=DERIVED)
    window_length_ns: int
    sharing: Sharing = Sharing.EQUAL
    rules_version: str = ""
    sight: Sight | None = None
    """The last good reading, as long as it may still hold."""
    gap_reason: GapReason | None = None
    energy_mj: int | None = None
    """The driver's counter as far as it has been accounted for."""
    ended: dict[ProcessId, int] = field(default_factory=dict[ProcessId, int])
    """Exits of those in ``sight``, in CLOCK_BOOTTIME, until a later good reading is explained by them."""
    resumed: bool = field(default=False, metadata=DERIVED)
    """A former life of the daemon left ``sight``: what lies since then may only be inferred."""
    resumed_ns: int | None = field(default=None, compare=False, metadata=DERIVED)
    """When this life first looked for the device."""
    carried: dict[Workload, tuple[int, int]] = field(default_factory=dict[Workload, tuple[int, int]])
    crew: Crew | None = field(default=None, compare=False, metadata=DERIVED)
    """Who was booked last: worked out again from the holders whenever it does not fit."""
    open: Open = field(init=False)
    closed: list[Closed] = field(default_factory=list[Closed])

    def __post_init__(self) -> None:
        self.open = self._open_at(self.settled_ns)

    def note_ended(self, ended: Mapping[ProcessId, int]) -> None:
        """Exits are told once, perhaps before the reading that lacks the process: they are kept until then."""
        if ended:
            self.ended.update(ended)

    def forget_ended(self) -> None:
        """Of those who are not in sight any more, nothing need be known."""
        if self.ended:
            held = self.sight.holders if self.sight else {}
            self.ended = {process: at_ns for process, at_ns in self.ended.items() if process in held}

    def see(self, now: Sight, interval_ns: int, rules_version: str) -> None:
        """A good reading: explains the time since the last one, or says that it was a gap."""
        if now.at_ns <= self.settled_ns:
            return  # it came late: what it could tell is settled already
        before, too_old = self.sight, now.at_ns - self.settled_ns > PATIENCE * interval_ns
        if before is not None and self.resumed:
            self._bridge(before, now, rules_version)
        elif before is None or too_old:
            self._lose(now, self.gap_reason or GapReason.OVERLOAD)
        else:
            self._meter(before, now)
        self._restart_energy(now.energy_mj)
        self.sight, self.gap_reason, self.resumed = now, None, False
        same_holders = before is not None and before.holders == now.holders
        if rules_version != self.rules_version or not (same_holders or self._may_go_on(now)):
            self.rules_version = rules_version
            self.cut()

    def miss(self, at_ns: int, reason: GapReason, interval_ns: int) -> None:
        """No reading at ``at_ns``. For three intervals the next good one may still bridge; then it is a gap."""
        self.gap_reason = reason
        if self.sight is not None and self._may_still_hold(at_ns, interval_ns):
            return
        if self.resumed:
            reason = GapReason.DAEMON_DOWN
        self.sight, self.resumed = None, False
        if at_ns > self.settled_ns:
            self._spend_unobserved(at_ns, reason, self.energy_mj)

    def cut(self, stepped: bool = False) -> None:
        """Closes the open segment where the accounts stand, and begins the next one there.

        It is in the same window, unless the wall clock was ``stepped``.
        """
        if self.open.start_ns < self.settled_ns:
            self._close(self.settled_ns)
        self.open = self._open_at(self.settled_ns, None if stepped else self.open.window_start_ns)

    def take_closed(self) -> list[Closed]:
        taken, self.closed = self.closed, []
        return taken

    def _may_still_hold(self, at_ns: int, interval_ns: int) -> bool:
        """Whether a good reading now or soon could yet explain the time since the last one."""
        if not self.resumed:
            return at_ns - self.settled_ns <= PATIENCE * interval_ns
        if self.resumed_ns is None:
            self.resumed_ns = at_ns
        return at_ns - self.resumed_ns <= RESUME_WITHIN_NS

    # The three ways in which a stretch of time is explained.

    def _meter(self, before: Sight, now: Sight) -> None:
        held = held_between(before, now, self.ended)
        counter = self._counter(now.at_ns, now.energy_mj)
        for cut in held.slices:
            self._spend(cut.start_ns, cut.end_ns, counter, self._holding(before, cut.holders))
        self.open.tally.uncertainty_ns += held.uncertainty_ns
        self._settle(now.at_ns, counter)

    def _lose(self, now: Sight, reason: GapReason) -> None:
        self._spend_unobserved(now.at_ns, reason, now.energy_mj)

    def _bridge(self, before: Sight, now: Sight, rules_version: str) -> None:
        """The daemon was away. Only who was there at both ends, unchanged, is credited, and it is marked so."""
        near = now.at_ns - self.settled_ns <= MAX_INFERRED_NS and rules_version == self.rules_version
        kept = [h for p, h in before.holders.items() if near and _unchanged(h, now.holders.get(p))]
        if now.holders.keys() != before.holders.keys():
            self.open.tally.uncertainty_ns += now.at_ns - self.settled_ns
        if kept:
            counter = self._counter(now.at_ns, now.energy_mj)
            self._spend(self.settled_ns, now.at_ns, counter, self._inferring(before, kept))
            self._settle(now.at_ns, counter)
        else:
            self._lose(now, GapReason.DAEMON_DOWN)

    # What is booked for a piece of such a stretch.

    def _holding(self, sight: Sight, holders: tuple[Holder, ...]) -> Add:
        def add(length_ns: int, energy_mj: int) -> None:
            if holders:
                self._crew_of(holders).add(length_ns, energy_mj, sight)
            else:
                self.open.tally.add_idle(length_ns, energy_mj)

        return add

    def _inferring(self, before: Sight, kept: list[Holder]) -> Add:
        still = {holder.workload for holder in kept}
        expected = sharers_of(tuple(before.holders.values()))
        sharers = tuple(w if w in still else Workload(GONE, w.subject_id) for w in expected)

        def add(length_ns: int, energy_mj: int) -> None:
            Crew.on(self.open.tally, tuple(kept), sharers, Quality.INFERRED).add_time(length_ns, energy_mj)

        return add

    def _crew_of(self, holders: tuple[Holder, ...]) -> Crew:
        crew = self.crew
        if crew is None or crew.tally is not self.open.tally or crew.holders != holders:
            crew = self.crew = Crew.on(self.open.tally, holders, sharers_of(holders), Quality.OBSERVED)
        return crew

    # Pieces never cross the edge of a window.

    def _spend_unobserved(self, until_ns: int, reason: GapReason, energy_mj: int | None) -> None:
        def add(length_ns: int, energy_mj: int) -> None:
            self.open.tally.add_unobserved(length_ns, energy_mj, reason)

        counter = self._counter(until_ns, energy_mj)
        self._spend(self.settled_ns, until_ns, counter, add)
        self._settle(until_ns, counter)

    def _spend(self, start_ns: int, end_ns: int, counter: Counter, add: Add) -> None:
        while start_ns < end_ns:
            if start_ns >= self.open.edge_ns:
                self._turn_window(start_ns, counter)
            stop_ns = min(end_ns, self.open.edge_ns)
            counted = self.open.energy_start_mj is not None
            add(stop_ns - start_ns, counter.between_mj(start_ns, stop_ns) if counted else 0)
            start_ns = stop_ns

    def _settle(self, at_ns: int, counter: Counter) -> None:
        self.settled_ns, self.energy_mj = at_ns, counter.at_mj(at_ns)
        if at_ns >= self.open.edge_ns:
            self._turn_window(at_ns, counter)

    def _turn_window(self, at_ns: int, counter: Counter) -> None:
        self.energy_mj = counter.at_mj(at_ns)
        following_ns = self.open.window_start_ns + self.window_length_ns
        self._close(at_ns)
        self.open = self._open_at(at_ns, following_ns)

    def _counter(self, until_ns: int, energy_mj: int | None) -> Counter:
        return counter_between(self.settled_ns, until_ns, self.energy_mj, energy_mj)

    # Opening and closing.

    def _open_at(self, start_ns: int, following_ns: int | None = None) -> Open:
        wall_ns, length_ns = self.wall.wall_ns(start_ns), self.window_length_ns
        window_ns = window_start_ns(wall_ns, length_ns)
        if following_ns is not None and -length_ns < wall_ns - following_ns < length_ns:
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
            tally=Tally(self.sharing, carried=self.carried),
        )

    def _close(self, end_ns: int) -> None:
        self.closed.append(close_segment(self.device, self.open, end_ns, self.energy_mj))
        self.carried = remainders(self.open.tally)

    def _restart_energy(self, now_mj: int | None) -> None:
        """A counter that fell, or is read for the first time, begins a segment of its own."""
        if now_mj is None or (self.energy_mj is not None and now_mj >= self.energy_mj):
            return
        if self.open.start_ns < self.settled_ns:
            self._close(self.settled_ns)
        self.energy_mj = now_mj
        self.open = self._open_at(self.settled_ns, self.open.window_start_ns)

    def _may_go_on(self, now: Sight) -> bool:
        """Whether the open segment can take these holders: owners as before, and not too many workloads."""
        accounts = self.open.tally.accounts
        booked = ((accounts.get(holder.workload), holder) for holder in now.holders.values())
        owners_stay = all(account is None or account.owner == holder.owner for account, holder in booked)
        return owners_stay and len(accounts) < CROWDED


def _unchanged(holder: Holder, later: Holder | None) -> bool:
    """Same pid and start (the key), same boundary (path and inode), same owner: the same user of the device."""
    return later is not None and (
        (holder.workload, holder.owner, holder.boundary, holder.boundary_inode)
        == (later.workload, later.owner, later.boundary, later.boundary_inode)
    )
