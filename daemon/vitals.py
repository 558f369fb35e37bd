"""Whether the daemon makes progress, and the watchdog that is fed by nothing else."""

import time
from dataclasses import dataclass, field

from ..model.reading import HostReading
from ..model.workload import UNATTRIBUTED, Attribution
from ..plugins.notify import Notifier


@dataclass(slots=True)
class Vitals:
    """Told of each reading that has gone all the way through meter and log."""

    notifier: Notifier
    started_s: float = field(default_factory=time.monotonic)
    ticks: int = 0
    missed: int = 0
    ready: bool = False
    first_tick_cpu_s: float = 0.0
    """What the start had cost when the first tick was over: not what a tick costs."""
    reading: HostReading | None = None
    attribution: Attribution | None = None
    _fed_s: float = 0.0

    def tick(self, reading: HostReading, attribution: Attribution) -> None:
        """A reading reached the log's side: only this feeds the watchdog."""
        if not self.ticks:
            self.first_tick_cpu_s = time.process_time()
        self.ticks += 1
        self.reading, self.attribution = reading, attribution
        self._feed()

    def miss(self, ticks: int) -> None:
        """So many ticks went by without a reading."""
        self.missed += ticks

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def processes(self) -> int:
        return len(self.attribution.holders) if self.attribution else 0

    @property
    def unattributed(self) -> int:
        """Processes on GPUs for which no tenant is known."""
        holders = self.attribution.holders.values() if self.attribution else ()
        return sum(holder.owner.tenant == UNATTRIBUTED for holder in holders)

    def _feed(self) -> None:
        every_s = self.notifier.watchdog_interval_s
        if every_s is not None and self.uptime_s - self._fed_s >= every_s / 3:
            self._fed_s = self.uptime_s
            self.notifier.watchdog()
