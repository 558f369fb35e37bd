"""Asks the probe on each tick, and says how far apart the ticks are."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from ..model.interval import NS_PER_S
from ..model.reading import DeviceGap, DeviceReading, HostReading

Take = Callable[[int], Awaitable[HostReading]]
"""Reads the host once; told the cadence in force, in ns."""

Offer = Callable[[HostReading], bool]


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often the host is read: seldom while nothing holds a GPU, for polling keeps idle ones awake."""

    every_s: float
    idle_every_s: float

    def after(self, reading: HostReading, now_s: float) -> float:
        """The next distance. A device that could not be read may be held: then it stays ``now_s``."""
        if any(isinstance(part, DeviceReading) and part.processes for part in reading.readings):
            return self.every_s
        blind = any(isinstance(part, DeviceGap) for part in reading.readings)
        return now_s if blind else max(self.idle_every_s, self.every_s)


async def sample(
    take: Take, offer: Offer, cadence: Cadence, stopping: trio.Event, on_missed: Callable[[int], None]
) -> None:
    """Samples until ``stopping``, then once more: what is closed at the end should end now.

    ``on_missed`` is told how many ticks went by without a reading.
    """
    every_s, due_s = cadence.every_s, trio.current_time()
    while not stopping.is_set():
        with trio.move_on_at(due_s):
            await stopping.wait()
        reading = await take(round(every_s * NS_PER_S))
        offer(reading)
        every_s = cadence.after(reading, every_s)
        late_s = max(trio.current_time() - (due_s + every_s), 0)
        on_missed(int(late_s / every_s))
        # Skip what was slept through: a late reading is a gap, not a burst.
        due_s += every_s + late_s
