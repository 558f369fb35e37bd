"""Asks the probe on each tick, and says how far apart the ticks are."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import trio

from ..model.interval import NS_PER_S
from ..model.reading import DeviceGap, DeviceReading, GapReason, HostReading
from ..model.usage import ClockState
from ..model.window import seconds_ns
from .config import MeteringConfig, SamplingConfig
from .orders import Orders

Take = Callable[[int], Awaitable[HostReading]]
"""Reads the host once; told the cadence in force, in ns."""

Offer = Callable[[HostReading], bool]

SOONEST_AFTER_EDGE_S = 0.05
BLIND_NS = 60 * NS_PER_S
"""For so long a device that cannot be read keeps the cadence; then nothing is believed of it any more."""


@dataclass(slots=True)
class Cadence:
    """How often the host is read: seldom while nothing holds a GPU, for polling keeps idle ones awake."""

    every_s: float
    idle_every_s: float
    window_ns: int = 60 * NS_PER_S
    after_edge_s: float = SOONEST_AFTER_EDGE_S
    """How long after the end of a window it is looked at: hosts of a fleet should not all close theirs at once."""
    _blind_since_ns: int | None = None

    def after(self, reading: HostReading, now_s: float) -> float:
        """The next distance. A device that could not be read may be held: then it stays ``now_s`` for a while."""
        if any(isinstance(part, DeviceReading) and part.processes for part in reading.readings):
            self._blind_since_ns = None
            return self.every_s
        blind_ns = self._blind_ns(reading)
        return now_s if blind_ns is not None and blind_ns <= BLIND_NS else max(self.idle_every_s, self.every_s)

    def until_edge_s(self, reading: HostReading) -> float:
        """How long after the reading its window has just ended: what closes then need not wait for an idle tick."""
        return (self.window_ns - reading.wall_ns % self.window_ns) / NS_PER_S + self.after_edge_s

    def _blind_ns(self, reading: HostReading) -> int | None:
        """For how long some device could not be read; None if each was, or nobody is to read them."""
        gaps = (part for part in reading.readings if isinstance(part, DeviceGap))
        if not any(gap.reason is not GapReason.RELEASED for gap in gaps):
            self._blind_since_ns = None
            return None
        if self._blind_since_ns is None:
            self._blind_since_ns = reading.boot_ns
        return reading.boot_ns - self._blind_since_ns


def make_cadence(sampling: SamplingConfig, metering: MeteringConfig) -> Cadence:
    """As configured; the look after a window's end falls somewhere else on each host."""
    after_edge_s = random.uniform(SOONEST_AFTER_EDGE_S, max(SOONEST_AFTER_EDGE_S, min(sampling.every_s, 1.0)))
    return Cadence(sampling.every_s, sampling.idle_every_s, seconds_ns(metering.window_s), after_edge_s)


def with_clock(take: Take, look: Callable[[], tuple[ClockState, int]]) -> Take:
    """Readings that say what is known of the clocks, too."""

    async def taken(interval_ns: int) -> HostReading:
        reading = await take(interval_ns)
        clock, suspended_ns = look()
        return replace(reading, clock=clock, suspended_ns=suspended_ns)

    return taken


async def sample(take: Take, offer: Offer, cadence: Cadence, orders: Orders, on_missed: Callable[[int], None]) -> None:
    """Samples until it is told to stop, then once more: what is closed at the end should end now.

    ``on_missed`` is told how many ticks went by without a reading.
    """
    every_s, due_s = cadence.every_s, trio.current_time()
    while not orders.stopping:
        with trio.move_on_at(due_s):
            await orders.carry_out()
        due_s = min(due_s, trio.current_time())
        reading = await take(round(every_s * NS_PER_S))
        offer(reading)
        every_s, now_s = cadence.after(reading, every_s), trio.current_time()
        late_s = max(now_s - (due_s + every_s), 0)
        on_missed(int(late_s / every_s))
        # Skip what was slept through: a late reading is a gap, not a burst.
        due_s = min(due_s + every_s + late_s, now_s + cadence.until_edge_s(reading))
