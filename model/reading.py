"""What the probe saw. Readings may be lost: time they do not cover is a gap, never a zero."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class GapReason(StrEnum):
    """Why a device could not be observed."""

    GPU_LOST = "gpu_lost"
    NVML_HANG = "nvml_hang"
    NVML_ERROR = "nvml_error"
    BAD_READING = "bad_reading"
    DRIVER_MISSING = "driver_missing"
    DRIVER_RELOAD = "driver_reload"
    RELEASED = "released"
    DAEMON_DOWN = "daemon_down"
    REBOOT = "reboot"
    BUFFER_FULL = "buffer_full"
    OVERLOAD = "overload"


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU by its UUID, prefixed by its vendor (``nvidia:GPU-...``). Never an index."""

    device_id: str
    model: str
    memory_bytes: int
    generation: int = 0


class ProcessOnDevice(NamedTuple):
    """A row of the driver's process list. ``None`` is what the driver did not say."""

    pid: int
    memory_bytes: int | None = None
    sm_percent: int | None = None
    """The newest accepted utilization sample of this pid since the last reading, 0 to 100."""


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One device at one instant.

    ``at_ns`` is CLOCK_BOOTTIME just before the process list was asked for: a
    process that starts after it may be in the list, one that had the device
    before it must be.
    """

    device_id: str
    at_ns: int
    processes: tuple[ProcessOnDevice, ...] = ()
    utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    energy_mj: int | None = None
    """The driver's counter since it was loaded; a decrease is a new driver epoch."""


@dataclass(frozen=True, slots=True)
class DeviceGap:
    """One device that gave no reading, as of ``at_ns`` (CLOCK_BOOTTIME)."""

    device_id: str
    at_ns: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class HostReading:
    """One tick: both clocks read together, and each known device's reading or gap."""

    boot_ns: int
    wall_ns: int
    interval_ns: int
    """The cadence in force. A value older than three of them is not extrapolated."""
    readings: tuple[DeviceReading | DeviceGap, ...]
    devices: tuple[Device, ...] = ()
    """Every known device, lost ones too. With each reading, for any one reading may be lost."""
    driver_calls: int = 0
    trouble: GapReason | None = None
    """Why no device could be read at all, if so."""
