"""What the probe saw. Readings may be lost: time they do not cover is a gap, never a zero."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from .usage import ClockState, Partition, Slices


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
    DROPPED = "dropped"
    LOG_DAMAGED = "log_damaged"
    OVERLOAD = "overload"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU or a MIG instance by its UUID, prefixed by its vendor (``nvidia:GPU-...``). Never an index.

    A GPU in MIG mode has a ``partition`` and an instance its ``slices``; a whole GPU has neither.
    """

    device_id: str
    model: str
    memory_bytes: int
    generation: int = 0
    """How often an instance of this UUID was seen to be removed. Counted by the meter; a probe says 0."""
    slices: Slices | None = None
    partition: Partition | None = None


class ProcessOnDevice(NamedTuple):
    """A row of the driver's process list. ``None`` is what the driver did not say."""

    pid: int
    memory_bytes: int | None = None
    sm_percent: int | None = None
    """The newest accepted utilization sample of this pid since the last reading, 0 to 100."""


class Accounted(NamedTuple):
    """What the driver's accounting says of an ended process. Times are CLOCK_BOOTTIME."""

    start_ns: int
    time_ns: int
    """How long it had a context."""
    sm_percent: int | None = None
    max_memory_bytes: int | None = None


class PassedProcess(NamedTuple):
    """Not in the list, and yet the driver's own buffers say that it used the device since the last reading."""

    pid: int
    evidence_ns: tuple[int, ...] = ()
    """CLOCK_BOOTTIME of each accepted utilization sample, rising."""
    sm_percent: int | None = None
    """Of the newest of them."""
    accounted: Accounted | None = None


class Xid(NamedTuple):
    """An error event of the driver; see NVIDIA's list of Xid codes."""

    device_id: str
    at_ns: int
    code: int


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
    power_mw: int | None = None
    """Only of boards without that counter: it is then integrated instead."""
    epoch: int = 0
    """Another number means that the counter may have begun anew: a driver load, a reset, a return."""
    passed: tuple[PassedProcess, ...] = ()


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
    clock: ClockState = ClockState.UNKNOWN
    """Whether the kernel says that the wall clock is synchronised."""
    suspended_ns: int = 0
    """How long this boot has been suspended so far: CLOCK_BOOTTIME less CLOCK_MONOTONIC."""
    xids: tuple[Xid, ...] = ()
    """Since the last reading."""
    rejected: tuple[tuple[str, int], ...] = ()
    """(reason, how often since the probe began): garbage from the driver that was not believed."""
