"""One GPU as the daemon knows it, from what several children say of it."""

from ...model.reading import Device, DeviceGap, DeviceReading, GapReason, ProcessOnDevice
from . import errors
from .epochs import DeviceEpoch, Reject
from .passing import Passing
from .replies import Row

Seen = DeviceReading | DeviceGap

_AWAY = frozenset({GapReason.GPU_LOST, GapReason.DRIVER_RELOAD, GapReason.DRIVER_MISSING})
"""After a gap of these the counters may have begun anew."""


class KnownDevice:
    """It stays known: a device that is not enumerated any more is lost, not gone."""

    __slots__ = (
        "_fresh", "_last_ns", "_lost", "_processes", "_reject", "device", "epoch", "lost_ns", "passing",
    )  # fmt: skip

    def __init__(self, device: Device, reject: Reject) -> None:
        self.device = device
        self.epoch = DeviceEpoch()
        self.passing = Passing()
        self.lost_ns = 0
        """When it was lost the last time, whether or not it is back."""
        self._lost = False
        self._last_ns = 0
        self._fresh: Seen | None = None
        """Of this tick."""
        self._processes: tuple[list[int | None], tuple[ProcessOnDevice, ...]] = ([], ())
        self._reject = reject

    def take_row(self, row: Row, child: int) -> None:
        """What a child says of it. Of two that come in one tick a reading beats a gap."""
        if row.passed:
            self.passing.hear(row.passed, row.at_ns)
        if row.at_ns <= self._last_ns:
            return  # from before what was already told of it: a child that was stuck
        fresh = self._fresh
        if row.code == 0 and (fresh is None or fresh.at_ns < row.at_ns):
            self.epoch.read(child)
            self._fresh = self._reading(row)
        elif row.code:
            if errors.condemns_device(row.code):
                self.epoch.gone(child)
            if not isinstance(fresh, DeviceReading):
                self._fresh = DeviceGap(self.device.device_id, row.at_ns, GapReason(errors.gap_reason(row.code)))

    def is_missing(self) -> bool:
        """Whether it is lost, or was not even found, in this tick."""
        fresh = self._fresh
        return fresh is None or (isinstance(fresh, DeviceGap) and fresh.reason is GapReason.GPU_LOST)

    def take_seen(self, otherwise: GapReason, at_ns: int) -> Seen:
        """The tick's reading or gap; ``otherwise`` and ``at_ns`` are for a device that nobody read."""
        seen, self._fresh = self._fresh or DeviceGap(self.device.device_id, at_ns, otherwise), None
        self._last_ns = max(seen.at_ns, self._last_ns)
        if isinstance(seen, DeviceGap):
            self._note_gap(seen)
            return seen
        self._lost = False
        return seen

    def _note_gap(self, gap: DeviceGap) -> None:
        if gap.reason in _AWAY:
            self.epoch.gone(self.epoch.reader)
        if gap.reason is GapReason.GPU_LOST and not self._lost:
            self._lost, self.lost_ns = True, gap.at_ns

    def _reading(self, row: Row) -> DeviceReading:
        """Who passed is told with it, whichever child saw that."""
        return DeviceReading(
            self.device.device_id,
            row.at_ns,
            self._holders(row.processes),
            row.utilization_percent,
            row.memory_used_bytes,
            self.epoch.energy_mj(row.energy_mj, row.at_ns, self._reject),
            row.power_mw,
            self.epoch.number,
            self.passing.take() if self.passing.waiting else (),
        )

    def _holders(self, flat: list[int | None]) -> tuple[ProcessOnDevice, ...]:
        """As they mostly are what they were, the tuple of the last tick is mostly taken again."""
        if self._processes[0] != flat:
            triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
            holders = tuple(ProcessOnDevice(pid, used, percent) for pid, used, percent in triples if pid is not None)
            self._processes = (flat, holders)
        return self._processes[1]
