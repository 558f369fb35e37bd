"""What the fake driver is told: devices, processes, schedules, faults; and what it must then answer.

A scenario is a value. Change it with the ``with_...`` methods and write it again: running programs
take up the new file within ``LOOK_EVERY_NS``. All times are CLOCK_BOOTTIME in nanoseconds.
``docs/simulator.md`` describes the file.
"""

import os
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from .driver import build_driver

LOOK_EVERY_NS = 5_000_000
"""A program looks at its scenario at most this often."""

ENVIRONMENT_VARIABLE = "GPUTALLY_SCENARIO"

Kind = Literal["compute", "graphics", "mps"]
Mig = Literal["unsupported", "disabled", "enabled"]
Quirk = Literal["zeros", "junk", "wide_rows", "empty_success", "stale_count"]
DeviceKey = int | str
"""A device by its index in the scenario, or by its UUID."""


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at_ns`` on the value is ``value``, until the next step."""

    at_ns: int
    value: int


Schedule = int | tuple[Step, ...]
"""A value over time: a number that holds since boot, or steps with rising times (0 before the first)."""


@dataclass(frozen=True, slots=True)
class SimProcess:
    """A process on one device. Present in ``[start_ns, end_ns)``; without an end it stays."""

    pid: int
    start_ns: int = 0
    end_ns: int | None = None
    memory_bytes: Schedule | None = 1 << 30
    """None: the driver says that it is not available."""
    sm_percent: Schedule = 0
    kind: Kind = "compute"
    follow: bool = False
    """Also leaves the lists when its pid is gone or a zombie, as on a real host. Costs a read of /proc."""
    gpu_instance: int | None = None
    compute_instance: int | None = None


@dataclass(frozen=True, slots=True)
class SimDevice:
    """One GPU. ``unlisted_bytes`` is memory in use that no listed process holds, as ghosts leave it."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    minor: int = 0
    pci_bus_id: str = "00000000:18:00.0"
    serial: str = ""
    memory_bytes: int = 85_520_809_984
    reserved_bytes: int = 577_765_376
    unlisted_bytes: int = 0
    utilization_percent: Schedule = 0
    memory_utilization_percent: Schedule = 0
    power_mw: Schedule = 70_000
    temperature_c: Schedule = 35
    energy_origin_ns: int = 0
    """When the energy counter stood at 0: the driver's load."""
    mig: Mig = "disabled"
    quirks: tuple[Quirk, ...] = ()
    lost: bool = False
    generation: int = 0
    """How often it was lost and has returned."""
    processes: tuple[SimProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """What calls suffer in ``[from_ns, until_ns)``: the delay, then the hang, then the error.

    ``call`` is the name of an NVML function: exact, without its version (all its versions), or a
    prefix with a star: ``nvmlInit*`` for all ways to initialise, as pynvml takes nvmlInitWithFlags.
    ``error`` is a name such as ``"GPU_IS_LOST"`` or a number of nvmlReturn_t.
    """

    call: str
    error: str | int | None = None
    device: DeviceKey | None = None
    """None: whatever device the call is about, and calls about none."""
    delay_ns: int = 0
    hang: bool = False
    from_ns: int = 0
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SimDriver:
    """The kernel module, and the library on disk where that is of another version."""

    version: str = "580.95.05"
    library: str | None = None
    nvml: str = "13.580.95.05"
    cuda: int = 13000
    epoch: int = 1
    """Counts loads. A program that has initialised on another one must do so again."""
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """A GPU host. Immutable; each change gives a new one."""

    devices: tuple[SimDevice, ...] = ()
    faults: tuple[Fault, ...] = ()
    driver: SimDriver = SimDriver()
    sample_period_ns: int = 166_667_000
    """Between two samples of a process's utilization; whole microseconds."""

    @classmethod
    def host(cls, gpus: int = 8, model: str = "NVIDIA H100 80GB HBM3", name: str = "sim-01") -> Self:
        """An idle host. Device UUIDs follow from ``name``, so that hosts of other names have others."""
        return cls(devices=tuple(_device(name, index, model) for index in range(gpus)))

    def index(self, device: DeviceKey) -> int:
        """Raises KeyError for a device that this host does not have."""
        if isinstance(device, int) and 0 <= device < len(self.devices):
            return device
        for index, found in enumerate(self.devices):
            if found.uuid == device:
                return index
        raise KeyError(f"no device {device!r} among {len(self.devices)}")

    def device(self, device: DeviceKey) -> SimDevice:
        return self.devices[self.index(device)]

    def with_device(self, device: SimDevice) -> Self:
        """Adds it, or puts it in the place of the one with its UUID."""
        if device.uuid not in {known.uuid for known in self.devices}:
            return replace(self, devices=(*self.devices, device))
        kept = (device if known.uuid == device.uuid else known for known in self.devices)
        return replace(self, devices=tuple(kept))

    def without_device(self, device: DeviceKey) -> Self:
        gone = self.index(device)
        return replace(self, devices=self.devices[:gone] + self.devices[gone + 1 :])

    def with_process(self, device: DeviceKey, process: SimProcess) -> Self:
        """Adds it, or puts it in the place of the one with its pid and kind."""
        host = self.device(device)
        others = (p for p in host.processes if (p.pid, p.kind) != (process.pid, process.kind))
        return self.with_device(replace(host, processes=(*others, process)))

    def without_process(self, device: DeviceKey, pid: int) -> Self:
        host = self.device(device)
        return self.with_device(replace(host, processes=tuple(p for p in host.processes if p.pid != pid)))

    def with_ended(self, device: DeviceKey, pid: int, end_ns: int) -> Self:
        host = self.device(device)
        ended = (replace(p, end_ns=end_ns) if p.pid == pid else p for p in host.processes)
        return self.with_device(replace(host, processes=tuple(ended)))

    def with_utilization(self, device: DeviceKey, percent: Schedule) -> Self:
        return self.with_device(replace(self.device(device), utilization_percent=percent))

    def with_power(self, device: DeviceKey, power_mw: Schedule) -> Self:
        return self.with_device(replace(self.device(device), power_mw=power_mw))

    def with_fault(self, fault: Fault) -> Self:
        return replace(self, faults=(*self.faults, fault))

    def without_faults(self) -> Self:
        return replace(self, faults=())

    def with_lost(self, device: DeviceKey) -> Self:
        """It falls off the bus."""
        return self.with_device(replace(self.device(device), lost=True))

    def with_returned(self, device: DeviceKey) -> Self:
        """It is back, for programs that initialise from now on."""
        host = self.device(device)
        return self.with_device(replace(host, lost=False, generation=host.generation + 1))

    def with_driver_reload(self, at_ns: int) -> Self:
        """Unloaded and loaded: energy counts from ``at_ns``, lost devices are back."""
        devices = (replace(d, energy_origin_ns=at_ns, lost=False) for d in self.devices)
        driver = replace(self.driver, epoch=self.driver.epoch + 1, missing=False)
        return replace(self, devices=tuple(devices), driver=driver)

    def with_driver_upgrade(self, version: str, at_ns: int) -> Self:
        """Reloaded in another version: only new processes can talk to it."""
        reloaded = self.with_driver_reload(at_ns)
        return replace(reloaded, driver=replace(reloaded.driver, version=version, library=None))

    def with_library_upgrade(self, version: str) -> Self:
        """New packages, and the kernel module not reloaded yet: new processes cannot talk to it."""
        return replace(self, driver=replace(self.driver, library=version))

    def with_driver_missing(self) -> Self:
        return replace(self, driver=replace(self.driver, missing=True))

    def write(self, path: Path | str) -> None:
        """In one step: a reader sees the old scenario or this one, whole."""
        from .scenario_text import scenario_text  # it reads the nouns above

        path = Path(path)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
        draft.write_text(scenario_text(self))
        # File systems stamp in steps of milliseconds; two scenarios in one of them must not look the same.
        now_ns = time.time_ns()
        os.utime(draft, ns=(now_ns, now_ns))
        draft.replace(path)


def _device(host: str, index: int, model: str) -> SimDevice:
    memory_bytes, reserved_bytes, power_mw = MODELS.get(model, MODELS["NVIDIA H100 80GB HBM3"])
    domain, bus = divmod(index, len(BUSES))
    return SimDevice(
        uuid=f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{index}.{host}.gputally')}",
        name=model,
        minor=index,
        pci_bus_id=f"{domain:08X}:{BUSES[bus]:02X}:00.0",
        memory_bytes=memory_bytes,
        reserved_bytes=reserved_bytes,
        power_mw=power_mw,
    )


BUSES = (0x18, 0x2A, 0x3A, 0x5D, 0x9A, 0xAB, 0xBA, 0xDB)  # of an HGX H100 board
MODELS = {  # memory, what the driver keeps of it, power when idle
    "NVIDIA H100 80GB HBM3": (85_520_809_984, 577_765_376, 70_000),
    "NVIDIA H200": (150_754_820_096, 577_765_376, 75_000),
    "NVIDIA A100-SXM4-80GB": (85_899_345_920, 650_117_120, 55_000),
    "NVIDIA A100-SXM4-40GB": (42_949_672_960, 534_773_760, 52_000),
    "NVIDIA L40S": (48_305_799_168, 611_319_808, 32_000),
    "NVIDIA L40": (48_305_799_168, 611_319_808, 32_000),
    "Tesla T4": (16_106_127_360, 469_762_048, 9_000),
}


# ---- what a right answer is, in integers ----


def boottime_ns() -> int:
    """The clock that scenarios speak of."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def steps_of(schedule: Schedule) -> tuple[Step, ...]:
    return (Step(0, schedule),) if isinstance(schedule, int) else schedule


def value_at(schedule: Schedule, at_ns: int) -> int:
    begun = [step.value for step in steps_of(schedule) if step.at_ns <= at_ns]
    return begun[-1] if begun else 0


def energy_mj(device: SimDevice, at_ns: int) -> int:
    """What the counter says at ``at_ns``: whole millijoules since the origin, rounded down."""
    steps = steps_of(device.power_mw)
    ends = [step.at_ns for step in steps[1:]] + [at_ns]
    picojoules = 0
    for step, end_ns in zip(steps, ends, strict=True):
        length_ns = min(end_ns, at_ns) - max(step.at_ns, device.energy_origin_ns)
        picojoules += step.value * max(length_ns, 0)
    return picojoules // 10**9


def utilization(device: SimDevice, at_ns: int) -> int:
    """Percent of the device, as nvmlDeviceGetUtilizationRates answers it."""
    return value_at(device.utilization_percent, at_ns)


def present(device: SimDevice, at_ns: int, kind: Kind = "compute") -> list[SimProcess]:
    """Who stands in a process list at ``at_ns``, ``follow`` aside."""
    return [p for p in device.processes
            if p.kind == kind and p.start_ns <= at_ns and (p.end_ns is None or at_ns < p.end_ns)]  # fmt: skip


def driver_environment(scenario_path: Path | str) -> dict[str, str]:
    """What a child process needs in its environment for the fake driver and this scenario.

    It must be there when the process starts: the dynamic linker reads LD_LIBRARY_PATH only then.
    Raises DriverBuildError where the driver cannot be built.
    """
    folders = [str(build_driver()), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "LD_LIBRARY_PATH": ":".join(folder for folder in folders if folder),
        ENVIRONMENT_VARIABLE: str(Path(scenario_path).absolute()),
    }
