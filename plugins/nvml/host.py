"""The devices of this host as the daemon knows them, and a tick's reading put together from replies."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from ...model.reading import Device, DeviceGap, DeviceReading, GapReason, ProcessOnDevice
from . import errors
from .passing import Passing
from .replies import Row, Told

PREFIX = "nvidia:"

Seen = DeviceReading | DeviceGap


class Host:
    """Known devices stay known: one that is not enumerated any more is lost, not gone."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._fresh: dict[str, Seen] = {}
        self._last_ns: dict[str, int] = {}
        self._processes: dict[str, tuple[list[int | None], tuple[ProcessOnDevice, ...]]] = {}
        self._passing: dict[str, Passing] = {}
        self._described: tuple[Device, ...] = ()
        self._lost: set[str] = set()
        self._lost_ns: dict[str, int] = {}
        """When each was lost the last time, whether or not it is back."""

    def __len__(self) -> int:
        return len(self._devices)

    def enumerated(self, told: Sequence[Told]) -> dict[int, str]:
        """Learns the devices a child found. Returns their ids by the index it uses for them."""
        ids: dict[int, str] = {}
        for index, uuid, model, memory_bytes in told:
            if uuid is not None:
                ids[index] = PREFIX + uuid
                self._devices[ids[index]] = Device(ids[index], model, memory_bytes)
        self._described = tuple(self._devices.values())
        return ids

    @property
    def devices(self) -> tuple[Device, ...]:
        """All known devices."""
        return self._described

    def take_row(self, row: Row, ids: Mapping[int, str]) -> None:
        """What a child says of one device. Of two that come in one tick a reading beats a gap."""
        device_id = ids.get(row.number)
        if device_id is None:
            return
        if row.passed:
            self._passing.setdefault(device_id, Passing()).hear(row.passed, row.at_ns)
        if row.at_ns <= self._last_ns.get(device_id, 0):
            return  # from before what was already told of that device: a child that was stuck
        known = self._fresh.get(device_id)
        if row.code == 0 and (known is None or known.at_ns < row.at_ns):
            self._fresh[device_id] = self._reading(device_id, row)
        elif row.code and not isinstance(known, DeviceReading):
            self._fresh[device_id] = DeviceGap(device_id, row.at_ns, GapReason(errors.gap_reason(row.code)))

    def sees(self, rows: Iterable[Row], ids: Mapping[int, str]) -> frozenset[int]:
        """The devices, by index, that a child reads well.

        A child that was stuck tells of some from before it was; if one was lost since, that is no proof.
        """
        lost_ns = self._lost_ns
        return frozenset(
            row.number for row in rows if row.code == 0 and row.at_ns >= lost_ns.get(ids.get(row.number, ""), 0)
        )

    def _reading(self, device_id: str, row: Row) -> DeviceReading:
        return DeviceReading(
            device_id,
            row.at_ns,
            self._holders(device_id, row.processes),
            row.utilization_percent,
            row.memory_used_bytes,
            row.energy_mj,
        )

    def _holders(self, device_id: str, flat: list[int | None]) -> tuple[ProcessOnDevice, ...]:
        """As they mostly are what they were, the tuple of the last tick is mostly taken again."""
        before = self._processes.get(device_id)
        if before is not None and before[0] == flat:
            return before[1]
        triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        holders = tuple(ProcessOnDevice(pid, used, percent) for pid, used, percent in triples if pid is not None)
        self._processes[device_id] = (flat, holders)
        return holders

    def missing(self, suspects: Container[str]) -> bool:
        """Whether a known device beside the suspects is lost, or was not even found."""
        for device_id in self._devices:
            seen = self._fresh.get(device_id)
            lost = seen is None or (isinstance(seen, DeviceGap) and seen.reason is GapReason.GPU_LOST)
            if lost and device_id not in suspects:
                return True
        return False

    def take_readings(self, why: Mapping[str, GapReason], otherwise: GapReason, at_ns: int) -> tuple[Seen, ...]:
        """A reading or a gap of each known device. ``why`` and ``otherwise`` are for those that nobody read."""
        seen = tuple(
            self._with_passed(self._fresh.get(device_id) or DeviceGap(device_id, at_ns, why.get(device_id, otherwise)))
            for device_id in self._devices
        )
        self._fresh = {}
        for one in seen:
            self._last_ns[one.device_id] = max(one.at_ns, self._last_ns.get(one.device_id, 0))
            self._note_loss(one)
        return seen

    def _with_passed(self, one: Seen) -> Seen:
        """Who passed is told with the next reading, whichever child saw it."""
        passing = self._passing.get(one.device_id)
        if passing is None or not passing.waiting or isinstance(one, DeviceGap):
            return one
        return replace(one, passed=passing.take())

    def _note_loss(self, one: Seen) -> None:
        if isinstance(one, DeviceReading):
            self._lost.discard(one.device_id)
        elif one.reason is GapReason.GPU_LOST and one.device_id not in self._lost:
            self._lost.add(one.device_id)
            self._lost_ns[one.device_id] = one.at_ns


def trouble(readings: Sequence[Seen], otherwise: GapReason) -> GapReason | None:
    """Why no device could be read at all; None if one could."""
    reasons = [one.reason for one in readings if isinstance(one, DeviceGap)]
    if len(reasons) < len(readings):
        return None
    return reasons[0] if reasons else otherwise
