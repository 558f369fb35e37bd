"""The devices of this host as the daemon knows them, and a tick's reading put together from replies."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

from ...model.reading import Device, DeviceGap, GapReason
from .evidence import Evidence
from .known import KnownDevice
from .partition import PREFIX, Seen
from .replies import Introduction, Row
from .xids import Xids


class Host:
    """Known devices stay known: one that is not enumerated any more is lost, not gone."""

    def __init__(self, evidence: Evidence | None = None) -> None:
        self._evidence = evidence or Evidence()
        self.xids = Xids()
        self._known: dict[str, KnownDevice] = {}
        self._devices: tuple[Device, ...] = ()
        self._counts = Counter[str]()
        self._rejected: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def devices(self) -> tuple[Device, ...]:
        """All known devices, and the MIG instances that there are."""
        if any(known.changed for known in self._known.values()):
            self._devices = tuple(device for known in self._known.values() for device in known.take_devices())
        return self._devices

    @property
    def rejected(self) -> tuple[tuple[str, int], ...]:
        """(reason, how often) of what was not believed, of all children together."""
        return self._rejected

    def reject(self, counts: Mapping[str, int]) -> None:
        self._counts.update(counts)
        self._rejected = tuple(sorted(self._counts.items()))

    def introduced(self, told: Introduction) -> dict[int, str]:
        """Learns the devices a child found. Returns their ids by the index it uses for them."""
        ids: dict[int, str] = {}
        for index, uuid, model, memory_bytes, bus_id, _ in told.devices:
            if uuid is not None:
                ids[index] = device_id = PREFIX + uuid
                known = self._meet(Device(device_id, model, memory_bytes))
                known.epoch.introduced(self._evidence.number(bus_id, told.driver_version))
        return ids

    def released(self) -> None:
        """The driver may be unloaded from here on. Where the kernel cannot tell, it was."""
        if self._evidence.module() is None:
            for known in self._known.values():
                known.epoch.gone(known.epoch.reader)

    def take_rows(self, rows: Iterable[Row], ids: Mapping[int, str], child: int) -> frozenset[int]:
        """What a child says; ``child`` grows with each child. Returns the devices, by index, that it reads well.

        A child that was stuck tells of some from before it was; if one was lost since, that is no proof.
        """
        sees: list[int] = []
        for row in rows:
            known = self._known.get(ids.get(row.number, ""))
            if known is not None:
                known.take_row(row, child)
            if row.code == 0 and (known is None or row.at_ns >= known.lost_ns):
                sees.append(row.number)
        return frozenset(sees)

    def missing(self, suspects: Container[str]) -> bool:
        """Whether a known device beside the suspects is lost, or was not even found."""
        return any(known.is_missing() for name, known in self._known.items() if name not in suspects)

    def take_readings(self, why: Mapping[str, GapReason], otherwise: GapReason, at_ns: int) -> tuple[Seen, ...]:
        """A reading or a gap of each known device. ``why`` and ``otherwise`` are for those that nobody read."""
        seen: list[Seen] = []
        for name, known in self._known.items():
            seen += known.take_seen(why.get(name, otherwise), at_ns)
        return tuple(seen)

    def cause(self, device_id: str) -> str | None:
        """Why a GPU cannot be read, in words; None for what is no whole GPU."""
        known = self._known.get(device_id)
        return None if known is None else known.cause()

    def _meet(self, device: Device) -> KnownDevice:
        known = self._known.get(device.device_id)
        if known is None:
            known = self._known[device.device_id] = KnownDevice(device, self._reject_one, self.xids)
        else:
            known.introduced(device)
        return known

    def _reject_one(self, reason: str) -> None:
        self.reject({reason: 1})


def trouble(readings: Sequence[Seen], otherwise: GapReason) -> GapReason | None:
    """Why no device could be read at all; None if one could."""
    reasons = [one.reason for one in readings if isinstance(one, DeviceGap)]
    if len(reasons) < len(readings):
        return None
    return reasons[0] if reasons else otherwise
