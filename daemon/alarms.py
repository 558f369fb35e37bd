"""GPUs that this host had and does not show any more: an alarm, for their silence would look like no usage."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from ..model.interval import NS_PER_S
from ..model.meter import Meter
from ..model.reading import DeviceGap, DeviceReading, GapReason, HostReading

log = logging.getLogger(__name__)

PATIENCE_NS = 60 * NS_PER_S
"""How long a driver may be silent or away, as it is while it starts or is replaced. What a driver that
answers does not show is missing at once."""


class AlarmKind(StrEnum):
    NO_GPUS = "no_gpus"
    """None of those it had."""
    GPU_MISSING = "gpu_missing"


class Since(NamedTuple):
    boot_ns: int
    wall_ns: int


@dataclass(slots=True)
class Alarms:
    """Looks at each reading that has gone all the way. The inventory is the meter's, which outlives every restart."""

    missing: dict[str, Since] = field(default_factory=dict[str, Since])
    raised: tuple[str, ...] = ()
    """Those of them that an alarm stands for."""
    kind: AlarmKind | None = None
    _never_said: bool = False

    def look(self, meter: Meter, reading: HostReading) -> bool:
        """Whether any alarm is other than before."""
        had = [name for name, known in meter.devices.items() if known.device.slices is None]
        good = {part.device_id for part in reading.readings if isinstance(part, DeviceReading)}
        if had and not self.missing and good.issuperset(had):
            return False  # as at almost every tick
        if not had:
            self._say_never(reading)
        gone = dict(_gone(had, reading))
        since = Since(reading.boot_ns, reading.wall_ns)
        self.missing = {name: self.missing.get(name, since) for name in gone}
        late_ns = reading.boot_ns - PATIENCE_NS
        now = tuple(name for name in gone if gone[name] or self.missing[name].boot_ns <= late_ns)
        before, self.raised = (self.kind, self.raised), now
        self.kind = None if not now else AlarmKind.NO_GPUS if len(now) == len(had) else AlarmKind.GPU_MISSING
        if before == (self.kind, now):
            return False
        self._tell(before[1], len(had), reading)
        return True

    def described(self) -> list[dict[str, Any]]:
        """As ``gputally status`` shows it."""
        if self.kind is None:
            return []
        devices = [name.partition(":")[2] for name in self.raised]
        return [{"kind": self.kind, "devices": devices, "since": self._since(self.raised)}]

    def counts(self) -> dict[str, int]:
        """Devices by kind of alarm, as telemetry shows it."""
        return {} if self.kind is None else {self.kind.value: len(self.raised)}

    def _tell(self, before: tuple[str, ...], had: int, reading: HostReading) -> None:
        if new := [name for name in self.raised if name not in before]:
            why = f" ({reading.trouble})" if reading.trouble else ""
            log.error(
                "ALARM %s: %d of the %d GPUs this host had missing since %s%s: %s; if they will not come back: "
                "gputally daemon retire ID",
                self.kind, len(self.raised), had, self._since(new), why, _uuids(new),
            )  # fmt: skip
        if back := [name for name in before if name not in self.raised]:
            log.warning("no longer missing: %s", _uuids(back))

    def _since(self, devices: Iterable[str]) -> str:
        return rfc3339(min(self.missing[name] for name in devices).wall_ns)

    def _say_never(self, reading: HostReading) -> None:
        if not self._never_said and reading.trouble is not GapReason.RELEASED:
            self._never_said = True
            log.info("this host has had no GPU so far (%s): there is nothing to meter, and that is no alarm",
                     reading.trouble)  # fmt: skip


def _gone(had: list[str], reading: HostReading) -> Iterator[tuple[str, bool]]:
    """(device, whether that is certain) of each device that is not there; one that hangs is there."""
    parts = {part.device_id: part for part in reading.readings}
    for name in had:
        part = parts.get(name)
        if isinstance(part, DeviceReading):
            continue
        reason = part.reason if isinstance(part, DeviceGap) else reading.trouble or GapReason.GPU_LOST
        if reason is GapReason.GPU_LOST:
            yield name, True
        elif reason is not GapReason.RELEASED and (part is None or reason in _AWAY):
            yield name, False


_AWAY = (GapReason.DRIVER_MISSING, GapReason.DRIVER_RELOAD)


def _uuids(devices: Iterable[str]) -> str:
    return ", ".join(name.partition(":")[2] for name in devices)


def rfc3339(wall_ns: int) -> str:
    """To the second, UTC."""
    return datetime.fromtimestamp(wall_ns // NS_PER_S, UTC).isoformat().replace("+00:00", "Z")
