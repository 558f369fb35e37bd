"""A GPU host as a value: what the fake driver is told.

Change a scenario with the ``with_...`` methods and write it again: running programs take up the new
file within ``LOOK_EVERY_NS``. ``docs/simulator.md`` describes the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from .mig import laid_out, with_activity, with_instance, without_instance
from .models import H100, board, cut_into
from .nouns import (
    Accounting,
    DeviceKey,
    Fault,
    Kind,
    Mig,
    Quirk,
    Schedule,
    SimDevice,
    SimDriver,
    SimInstance,
    SimProcess,
    SimXid,
    Step,
)
from .oracle import boottime_ns, energy_mj, integral, present, steps_of, utilization, value_at
from .scenario_file import ENVIRONMENT_VARIABLE, LOOK_EVERY_NS, driver_environment, write_whole
from .scenario_text import process_line, scenario_text

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "LOOK_EVERY_NS",
    "Accounting",
    "DeviceKey",
    "Fault",
    "Kind",
    "Mig",
    "Quirk",
    "Scenario",
    "Schedule",
    "SimDevice",
    "SimDriver",
    "SimInstance",
    "SimProcess",
    "SimXid",
    "Step",
    "boottime_ns",
    "cut_into",
    "driver_environment",
    "energy_mj",
    "integral",
    "present",
    "process_line",
    "steps_of",
    "utilization",
    "value_at",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scenario:
    """A GPU host. Immutable; each change gives a new one."""

    devices: tuple[SimDevice, ...] = ()
    faults: tuple[Fault, ...] = ()
    driver: SimDriver = SimDriver()
    sample_period_ns: int = 166_667_000
    """Between two samples of a process's utilization; whole microseconds."""
    xids: tuple[SimXid, ...] = ()

    @classmethod
    def host(cls, gpus: int = 8, model: str = H100, name: str = "sim-01") -> Self:
        """An idle host. Device UUIDs follow from ``name``, so that hosts of other names have others."""
        return cls(devices=tuple(board(name, index, model) for index in range(gpus)))

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

    def with_energy_step(self, device: DeviceKey, at_ns: int, energy_mj: int = 0) -> Self:
        """The counter is set to that, as a reset does without a reload of the driver."""
        host = self.device(device)
        return self.with_device(replace(host, energy_steps_mj=(*host.energy_steps_mj, Step(at_ns, energy_mj))))

    def with_order(self, *devices: DeviceKey) -> Self:
        """These first: the indices that programs see which initialise from now on. Write no fault or xid by index."""
        first = [self.device(device) for device in devices]
        return replace(self, devices=(*first, *(known for known in self.devices if known not in first)))

    def with_accounting(self, device: DeviceKey, accounting: Accounting = "enabled") -> Self:
        """What it is when the driver is loaded; what a program has set since goes before."""
        return self.with_device(replace(self.device(device), accounting=accounting))

    def with_mig_layout(self, device: DeviceKey, instances: Iterable[SimInstance]) -> Self:
        """Cut into these and no others, MIG switched on: ``cut_into`` makes them from the names of profiles."""
        return self.with_device(laid_out(self.device(device), instances))

    def with_mig_instance(self, device: DeviceKey, instance: SimInstance) -> Self:
        """Creates it; one with its ids is destroyed and created again. The others keep their indices."""
        return self.with_device(with_instance(self.device(device), instance))

    def without_mig_instance(self, device: DeviceKey, gpu_instance: int, compute_instance: int = 0) -> Self:
        """Destroys it. The others keep their indices. Raises KeyError where there is none."""
        return self.with_device(without_instance(self.device(device), gpu_instance, compute_instance))

    def with_mig_utilization(
        self, device: DeviceKey, percent: Schedule, gpu_instance: int, compute_instance: int = 0
    ) -> Self:
        """How busy a MIG device is, of its own slices: what GPM tells where the board has it."""
        return self.with_device(with_activity(self.device(device), gpu_instance, compute_instance, percent))

    def with_fault(self, fault: Fault) -> Self:
        return replace(self, faults=(*self.faults, fault))

    def without_faults(self) -> Self:
        return replace(self, faults=())

    def with_xid(self, device: DeviceKey, code: int, at_ns: int) -> Self:
        return replace(self, xids=(*self.xids, SimXid(device, code, at_ns)))

    def with_lost(self, device: DeviceKey) -> Self:
        """It falls off the bus."""
        return self.with_device(replace(self.device(device), lost=True))

    def with_returned(self, device: DeviceKey) -> Self:
        """It is back, for programs that initialise from now on."""
        host = self.device(device)
        return self.with_device(replace(host, lost=False, generation=host.generation + 1))

    def with_driver_reload(self, at_ns: int) -> Self:
        """Unloaded and loaded: energy counts from ``at_ns``, lost devices are back, accounting is off."""
        devices = (
            replace(d, energy_origin_ns=at_ns, lost=False,
                    accounting="disabled" if d.accounting == "enabled" else d.accounting)
            for d in self.devices
        )  # fmt: skip
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

    def write(self, path: Path | str, more_lines: Iterable[str] = ()) -> None:
        """In one step: a reader sees the old scenario or this one, whole.

        ``more_lines`` are put behind it as they are. Who starts hundreds of processes a second keeps
        each one's ``process_line`` and writes them all again, instead of a scenario that holds them.
        """
        write_whole(Path(path), "".join([scenario_text(self), *(f"{line}\n" for line in more_lines)]))
