"""The newest look at the host. The meter puts it here, exporters take it: the latest wins and nobody waits."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ...model.interval import NS_PER_S
from ...model.reading import Device, DeviceGap, DeviceReading, HostReading

STALE_AFTER_INTERVALS: Final = 3
"""A value older than this is not shown: absence of knowledge is no number."""
_LEAST_STALE_NS: Final = 15 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Look:
    """One reading with the devices there are; a value that nobody changes any more."""

    devices: Mapping[str, Device] = field(default_factory=dict[str, Device])
    seen: tuple[DeviceReading | DeviceGap, ...] = ()
    energy_mj: Mapping[str, int] = field(default_factory=dict[str, int])
    """By device: what its counter said, resets taken out, so that it never falls."""
    stale_at_ns: int = 0


class HostView:
    """``put`` is one thread's; ``look`` is anybody's. ``clock_ns`` is any clock that goes forward."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._look = Look()
        self._counters_mj: dict[str, int] = {}
        self.alarms: Mapping[str, int] = {}
        """Devices by kind of alarm; replaced, never changed."""

    def put(self, reading: HostReading) -> None:
        old = self._look
        stale_ns = max(STALE_AFTER_INTERVALS * reading.interval_ns, _LEAST_STALE_NS)
        self._look = Look(
            {each.device_id: each for each in reading.devices},
            reading.readings,
            {**old.energy_mj, **dict(self._energies(reading, old.energy_mj))},
            self._clock_ns() + stale_ns,
        )

    def look(self) -> Look:
        """The newest look; its devices without their readings if that is too old."""
        look = self._look
        return look if self._clock_ns() < look.stale_at_ns else Look(look.devices, (), look.energy_mj, 0)

    def _energies(self, reading: HostReading, sums_mj: Mapping[str, int]) -> Iterator[tuple[str, int]]:
        for seen in reading.readings:
            if isinstance(seen, DeviceReading) and seen.energy_mj is not None:
                before_mj = self._counters_mj.get(seen.device_id, 0)
                # A counter that fell began anew at zero: driver reload or reset.
                grown_mj = seen.energy_mj - (before_mj if seen.energy_mj >= before_mj else 0)
                self._counters_mj[seen.device_id] = seen.energy_mj
                yield seen.device_id, sums_mj.get(seen.device_id, 0) + grown_mj
