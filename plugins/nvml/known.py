"""One GPU as the daemon knows it, from what several children say of it."""

from dataclasses import replace

from ...model.reading import Device, DeviceGap, DeviceReading, GapReason, Xid
from . import errors
from .epochs import DeviceEpoch, Reject
from .holders import HolderCache
from .partition import Cut, Seen
from .passing import Passing
from .replies import Row
from .xids import FALLEN_OFF_THE_BUS, Xids, words

_AWAY = frozenset({GapReason.GPU_LOST, GapReason.DRIVER_RELOAD, GapReason.DRIVER_MISSING})
"""After a gap of these the counters may have begun anew."""

BLAMED_FOR_NS = 5_000_000_000
"""How long before the last good reading the event may have been that a gap comes from."""


class KnownDevice:
    """It stays known: a device that is not enumerated any more is lost, not gone."""

    __slots__ = (
        "_code", "_cut", "_device", "_fresh", "_good_ns", "_holders", "_last_ns", "_lost", "_parts", "_reject", "_xids",
        "changed", "epoch", "lost_ns", "passing",
    )  # fmt: skip

    def __init__(self, device: Device, reject: Reject, xids: Xids) -> None:
        self.changed = True
        """It, or one of its MIG instances, is another than when the devices were taken."""
        self.epoch = DeviceEpoch()
        self.passing = Passing()
        self.lost_ns = 0
        """When it was lost the last time, whether or not it is back."""
        self._device = device
        self._cut = Cut()
        self._holders = HolderCache()
        self._reject = reject
        self._xids = xids
        self._code = 0
        """Of the latest row that was no reading."""
        self._good_ns = 0
        """When it was read well the last time."""
        self._lost = False
        self._last_ns = 0
        self._fresh: Seen | None = None
        """Of this tick."""
        self._parts: tuple[Seen, ...] = ()
        """Of its instances, with ``_fresh``."""
        self.introduced(device)

    def introduced(self, device: Device) -> None:
        """As a child has enumerated it."""
        self._device = replace(device, partition=self._cut.partition)
        self.changed = True

    def take_devices(self) -> tuple[Device, ...]:
        """Itself, and its MIG instances."""
        self.changed = False
        return (self._device, *self._cut.devices)

    def take_row(self, row: Row, child: int) -> None:
        """What a child says of it. Of two that come in one tick a reading beats a gap."""
        if row.passed:
            self.passing.hear(row.passed)
        if row.at_ns <= self._last_ns:
            return  # from before what was already told of it: a child that was stuck
        fresh = self._fresh
        if row.code == 0 and (fresh is None or fresh.at_ns < row.at_ns):
            self._take_good(row, child)
        elif row.code:
            if errors.condemns_device(row.code):
                self.epoch.gone(child)
            if not isinstance(fresh, DeviceReading):
                self._code = row.code
                self._fresh = DeviceGap(self._device.device_id, row.at_ns, self._reason(row.code))

    def is_missing(self) -> bool:
        """Whether it is lost, or was not even found, in this tick."""
        fresh = self._fresh
        return fresh is None or (isinstance(fresh, DeviceGap) and fresh.reason is GapReason.GPU_LOST)

    def take_seen(self, otherwise: GapReason, at_ns: int) -> tuple[Seen, ...]:
        """The tick's reading or gap, and those of its instances, all of one instant.

        ``otherwise`` and ``at_ns`` are for a device that nobody read.
        """
        seen, self._fresh = self._fresh or DeviceGap(self._device.device_id, at_ns, otherwise), None
        self._last_ns = max(seen.at_ns, self._last_ns)
        if isinstance(seen, DeviceGap):
            self._note_gap(seen)
            return seen, *self._cut.gaps(seen.at_ns, seen.reason)
        self._lost, self._code, self._good_ns = False, 0, seen.at_ns
        if self.passing.waiting:  # whichever child saw it, and however many of them answered
            seen = replace(seen, passed=self.passing.take())
        return seen, *self._parts

    def cause(self) -> str:
        """Why it cannot be read, in words; empty where nobody said."""
        xid = self._blamed()
        told = [errors.words_and_cure(self._code)] if self._code else []
        return "; ".join([words(xid.code), *told] if xid else told)

    def _take_good(self, row: Row, child: int) -> None:
        if self.epoch.away or child != self.epoch.reader:
            self.epoch.read(child)
        self._fresh, self._parts = self._reading(row), ()
        if row.mig is None and self._cut.partition is None:
            return  # as at almost every tick
        if self._cut.become(row.mig, self._device.device_id):
            self.introduced(self._device)
        self._parts = self._cut.seen(row, self.epoch.number)

    def _reason(self, code: int) -> GapReason:
        """An error that says nothing is explained by the event before it."""
        reason = GapReason(errors.gap_reason(code))
        xid = self._blamed() if reason is GapReason.NVML_ERROR else None
        return GapReason.GPU_LOST if xid is not None and xid.code == FALLEN_OFF_THE_BUS else reason

    def _blamed(self) -> Xid | None:
        return self._xids.blamed(self._device.device_id, self._good_ns - BLAMED_FOR_NS)

    def _note_gap(self, gap: DeviceGap) -> None:
        if gap.reason in _AWAY:
            self.epoch.gone(self.epoch.reader)
        if gap.reason is GapReason.GPU_LOST and not self._lost:
            self._lost, self.lost_ns = True, gap.at_ns

    def _reading(self, row: Row) -> DeviceReading:
        return DeviceReading(
            self._device.device_id,
            row.at_ns,
            self._holders.holders(row.processes),
            row.utilization_percent,
            row.memory_used_bytes,
            self.epoch.energy_mj(row.energy_mj, row.at_ns, self._reject),
            row.power_mw,
            self.epoch.number,
        )
