"""A scenario as the lines that the fake driver reads (docs/simulator.md)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .mig import name_of, uuid_of
from .nouns import DeviceKey, Fault, Schedule, SimDevice, SimDriver, SimInstance, SimProcess

if TYPE_CHECKING:
    from .scenario import Scenario  # which writes itself with our help

Value = int | str | bool | None
"""True is a bare word; None, False and an empty text are left out."""


def scenario_text(scenario: "Scenario") -> str:
    """Raises ValueError for a text that cannot stand in a line, such as one with a quotation mark."""
    return "".join(f"{line}\n" for line in _lines(scenario))


def _lines(scenario: "Scenario") -> Iterator[str]:
    yield _driver_line(scenario.driver)
    yield _line("samples", period=f"{scenario.sample_period_ns}ns")
    for index, device in enumerate(scenario.devices):
        yield _device_line(device)
        yield from (_instance_line(index, device, instance) for instance in device.instances)
        yield from (process_line(index, process) for process in device.processes)
    for fault in scenario.faults:
        yield _fault_line(fault)
    for xid in scenario.xids:
        yield _line("xid", device=xid.device, code=xid.code, at=xid.at_ns, gpu_instance=xid.gpu_instance,
                    compute_instance=xid.compute_instance)  # fmt: skip


def _driver_line(driver: SimDriver) -> str:
    return _line("driver", version=driver.version, library=driver.library, nvml=driver.nvml,
                 cuda=driver.cuda, epoch=driver.epoch, missing=driver.missing)  # fmt: skip


def _device_line(device: SimDevice) -> str:
    return _line(
        "device",
        uuid=device.uuid, name=device.name, minor=device.minor, bus=device.pci_bus_id, serial=device.serial,
        memory=device.memory_bytes, reserved=device.reserved_bytes, unlisted=device.unlisted_bytes,
        utilization=_utilization(device),
        sm_utilization=_schedule(device.sm_utilization_percent),
        memory_utilization=_schedule(device.memory_utilization_percent),
        power_mw=_schedule(device.power_mw), temperature_c=_schedule(device.temperature_c),
        energy=device.energy, energy_origin=f"{device.energy_origin_ns}ns",
        energy_steps=_schedule(device.energy_steps_mj), mig=device.mig,
        accounting=device.accounting, gpm=device.gpm, quirks=",".join(device.quirks),
        generation=device.generation, lost=device.lost, mig_compute_slices=device.mig_compute_slices,
        mig_memory_slices=device.mig_memory_slices, multiprocessors=device.multiprocessors,
    )  # fmt: skip


def _utilization(device: SimDevice) -> str:
    return "unsupported" if device.utilization == "unsupported" else _schedule(device.utilization_percent)


def _instance_line(index: int, device: SimDevice, instance: SimInstance) -> str:
    return _line(
        "instance",
        device=index, gpu_instance=instance.gpu_instance, compute_instance=instance.compute_instance,
        uuid=uuid_of(device, instance), name=name_of(device, instance), index=instance.index,
        compute_slices=instance.compute_slices, gpu_slices=instance.gpu_slices,
        memory_slices=instance.memory_slices, placement=instance.placement, memory=instance.memory_bytes,
        multiprocessors=instance.multiprocessors, generation=instance.generation,
        utilization=_schedule(instance.utilization_percent),
        sm_utilization=_schedule(instance.sm_utilization_percent),
    )  # fmt: skip


def process_line(device: DeviceKey, process: SimProcess) -> str:
    """One process on one device, without a line break."""
    memory = "unavailable" if process.memory_bytes is None else _schedule(process.memory_bytes)
    return _line(
        "process",
        device=device, pid=process.pid, kind=process.kind, start=process.start_ns, end=process.end_ns,
        memory=memory, sm=_schedule(process.sm_percent), follow=process.follow,
        gpu_instance=process.gpu_instance, compute_instance=process.compute_instance,
    )  # fmt: skip


def _fault_line(fault: Fault) -> str:
    device = "*" if fault.device is None else fault.device
    return _line("fault", call=fault.call, device=device, error=fault.error, delay=fault.delay_ns, hang=fault.hang,
                 **{"from": fault.from_ns}, until=fault.until_ns)  # fmt: skip


def _schedule(schedule: Schedule) -> str:
    if isinstance(schedule, int):
        return str(schedule)
    return ",".join(f"{step.at_ns}:{step.value}" for step in schedule) or "0"


def _line(kind: str, /, **words: Value) -> str:
    said = (_word(key, value) for key, value in words.items() if value is not None and value != "")
    return " ".join([kind, *filter(None, said)])


def _word(key: str, value: Value) -> str:
    if isinstance(value, bool):
        return key if value else ""
    text = str(value)
    if any(sign in text for sign in '"\n\r'):
        raise ValueError(f"{key}: no quotation mark or line break may stand in {text!r}")
    return f'{key}="{text}"' if " " in text or "\t" in text or "#" in text else f"{key}={text}"
