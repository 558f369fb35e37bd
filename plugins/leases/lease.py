"""One line of the operator's table."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from ...model.reading import Device
from ...model.workload import Owner, Workload

KIND: Final = "lease"
ALL: Final = "*"
"""In place of a device: every device of this host."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
LATEST_NS: Final = 2**63 - 1
"""In the year 2262: what 64 bits hold."""


@dataclass(frozen=True, slots=True)
class Lease:
    """``units`` of ``of`` equal parts of each device, from ``from_ns`` (in) to ``to_ns`` (out): ns since 1970, UTC."""

    id: str
    owner: Owner
    devices: tuple[str, ...]
    """Device ids with their vendor, or ALL alone."""
    from_ns: int
    to_ns: int | None
    units: int = 1
    of: int = 1

    @property
    def workload(self) -> Workload:
        return Workload(KIND, self.id)

    @property
    def evidence(self) -> str:
        return f"lease file: {self.id}"

    def lasts_beyond(self, wall_ns: int) -> bool:
        return self.to_ns is None or self.to_ns > wall_ns


def to_ns(moment: datetime) -> int:
    """An aware date and time as ns since 1970, exact to the microsecond that TOML carries."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def show_ns(wall_ns: int) -> str:
    """An instant as TOML writes it, to the second."""
    return (_EPOCH + timedelta(seconds=wall_ns // 1_000_000_000)).strftime("%Y-%m-%dT%H:%M:%SZ")


def expand(names: tuple[str, ...], devices: tuple[Device, ...]) -> tuple[str, ...]:
    """The devices that a lease names: ALL is every GPU of this host, in the order of ``devices``.

    A GPU in MIG mode stands for its instances, those that are made later too. A device
    that nobody has seen yet is kept: it may be hanging, and is leased all the same.
    """
    if ALL in names:
        return tuple(device.device_id for device in devices if device.slices is None)
    return names


def unknown_names(names: tuple[str, ...], devices: tuple[Device, ...]) -> list[str]:
    """Those that stand for no known device of this host."""
    known = {device.device_id for device in devices} | {ALL}
    return [name for name in names if name not in known]
