"""What the probe would say of the GPUs of a script at an instant: the driver, seen through readings."""

from collections.abc import Iterator

from ...model.reading import (
    Accounted,
    Device,
    DeviceGap,
    DeviceReading,
    GapReason,
    HostReading,
    PassedProcess,
    ProcessOnDevice,
)
from ...model.usage import Partition, Slices
from ...plugins.nvml.epochs import DeviceEpoch
from .clocks import Clocks
from .energy import Counter
from .script import COMPUTE_SLICES, MEMORY_SLICES, MS, Blind, Gpu, Instance, Script
from .timeline import Holding, Timeline, timelines

SAMPLE_EVERY_NS = 167 * MS
"""How often the driver puts a utilization sample of each process into its buffer."""
SAMPLES_KEPT = 60


class Driver:
    """One life's look at the script's driver: it knows whom this life has met, and what it has told it."""

    def __init__(self, script: Script, clocks: Clocks) -> None:
        self._script, self._clocks = script, clocks
        self._timelines: dict[str, Timeline] = timelines(script)
        self._counters = {gpu.device_id: Counter(gpu, script) for gpu in script.gpus}
        self._met: dict[str, Device] = {}
        self._told_ns: dict[str, int] = {}
        self._epochs = {gpu.device_id: DeviceEpoch() for gpu in script.gpus}
        self._is_released = False

    async def release(self, within_s: float) -> bool:
        """Closes every device; each is a gap until ``resume``."""
        self._is_released = True
        return True

    def resume(self) -> None:
        self._is_released = False

    def blinds_at(self, true_ns: int) -> list[Blind]:
        return [each for each in self._script.blinds if each.from_ns <= true_ns < each.until_ns]

    def look(self, true_ns: int) -> tuple[DeviceReading | DeviceGap, ...]:
        """Each device that this life has ever seen, at this instant."""
        blinds, trouble = self.blinds_at(true_ns), self.trouble(true_ns)
        if trouble is not None:
            return tuple(self._gap(device_id, true_ns, trouble.value) for device_id in self._met)
        blind = {each.device_id: each.reason for each in blinds}
        there = {device.device_id: device for device in self._there(true_ns)}
        for device_id, device in list(self._met.items()):
            if device.slices is not None and device.slices.parent_id not in blind and device_id not in there:
                del self._met[device_id]  # an instance that was destroyed
        parents = {name: device.slices.parent_id for name, device in there.items() if device.slices}
        return tuple(
            self._part(device, blind, parents, true_ns)
            for device in there.values()
            if device.device_id in self._met or not self._is_blind(device, blind)
        )

    def trouble(self, true_ns: int) -> GapReason | None:
        """Why no device can be read, if so."""
        if self._is_released:
            return GapReason.RELEASED
        return next((GapReason(each.reason) for each in self.blinds_at(true_ns) if each.device_id is None), None)

    @property
    def devices(self) -> tuple[Device, ...]:
        """Those that were met."""
        return tuple(self._met.values())

    def _there(self, true_ns: int) -> Iterator[Device]:
        """In the order in which the driver numbers them now."""
        order = tuple(range(len(self._script.gpus)))
        for from_ns, changed in self._script.orders:
            order = changed if from_ns <= true_ns else order
        for index in order:
            gpu = self._script.gpus[index]
            partition = Partition(COMPUTE_SLICES, MEMORY_SLICES) if gpu.mig else None
            yield Device(gpu.device_id, gpu.model, gpu.memory_bytes, partition=partition)
            for each in self._script.instances:
                if each.parent_id == gpu.device_id and each.made_ns <= true_ns < each.gone_ns:
                    yield _instance(gpu, each)

    @staticmethod
    def _is_blind(device: Device, blind: dict[str | None, str]) -> bool:
        parent_id = device.slices.parent_id if device.slices else None
        return device.device_id in blind or parent_id in blind

    def _part(
        self, device: Device, blind: dict[str | None, str], parents: dict[str, str], true_ns: int
    ) -> DeviceReading | DeviceGap:
        reason = blind.get(device.device_id) or blind.get(parents.get(device.device_id, ""))
        if reason is not None:
            return self._gap(device.device_id, true_ns, reason)
        self._met[device.device_id] = device
        return self._reading(device, true_ns)

    def _gap(self, device_id: str, true_ns: int, reason: str) -> DeviceGap:
        if device_id in self._epochs and reason in (GapReason.GPU_LOST, GapReason.DRIVER_RELOAD):
            self._epochs[device_id].gone(child=0)
        return DeviceGap(device_id, self._clocks.boot_ns(true_ns), GapReason(reason))

    def _reading(self, device: Device, true_ns: int) -> DeviceReading:
        held = self._timelines[device.device_id].at(true_ns).holdings
        energy_mj, epoch = self._count(device.device_id, true_ns)
        before_ns = self._told_ns.get(device.device_id, true_ns)
        self._told_ns[device.device_id] = true_ns
        percent = next((g.utilization_percent for g in self._script.gpus if g.device_id == device.device_id), None)
        return DeviceReading(
            device_id=device.device_id,
            at_ns=self._clocks.boot_ns(true_ns),
            processes=tuple(ProcessOnDevice(each.process.pid, each.use.memory_bytes) for each in held),
            utilization_percent=None if percent is None or device.partition else percent if held else 0,
            memory_used_bytes=sum(each.use.memory_bytes for each in held),
            energy_mj=energy_mj,
            epoch=epoch,
            passed=() if device.slices or device.partition else tuple(self._passed(device, before_ns, true_ns)),
        )

    def _count(self, device_id: str, true_ns: int) -> tuple[int | None, int]:
        """What the probe believes of the counter, and the epoch that it gives it."""
        if device_id not in self._counters:
            return None, 0
        counter, epoch = self._counters[device_id], self._epochs[device_id]
        epoch.introduced(counter.epoch(true_ns))
        epoch.read(child=0)
        energy_mj = epoch.energy_mj(counter.read_mj(true_ns), self._clocks.boot_ns(true_ns), lambda _: None)
        return energy_mj, epoch.number

    def _passed(self, device: Device, from_ns: int, until_ns: int) -> Iterator[PassedProcess]:
        """Who is not there now and used the device since the last reading, as far as the driver's buffers show."""
        listed = {each.process.pid for each in self._timelines[device.device_id].at(until_ns).holdings}
        accounting = any(g.accounting for g in self._script.gpus if g.device_id == device.device_id)
        seen: dict[int, Holding] = {}
        for piece in self._timelines[device.device_id].between(from_ns + 1, until_ns):
            seen.update({each.process.pid: each for each in piece.holdings})
        for pid, holding in sorted(seen.items()):
            if pid not in listed:
                passed = self._trace(holding, from_ns, accounting)
                if passed.evidence_ns or passed.accounted:
                    yield passed

    def _trace(self, holding: Holding, from_ns: int, accounting: bool) -> PassedProcess:
        use = holding.use
        first_ns = max(use.open_ns, from_ns + 1)
        first_ns += -first_ns % SAMPLE_EVERY_NS
        stamps = range(first_ns, use.close_ns, SAMPLE_EVERY_NS)[-SAMPLES_KEPT:]
        start_ns = self._clocks.boot_ns(use.open_ns)
        record = Accounted(start_ns, use.close_ns - use.open_ns, 50, use.memory_bytes) if accounting else None
        return PassedProcess(
            pid=holding.process.pid,
            evidence_ns=tuple(self._clocks.boot_ns(stamp) for stamp in stamps),
            sm_percent=50 if stamps else None,
            accounted=record,
        )


def _instance(gpu: Gpu, each: Instance) -> Device:
    memory_bytes = gpu.memory_bytes * each.memory // MEMORY_SLICES
    slices = Slices(each.parent_id, each.compute, COMPUTE_SLICES, each.memory, MEMORY_SLICES)
    return Device(each.device_id, f"{gpu.model} MIG", memory_bytes, slices=slices)


def read_host(
    driver: Driver,
    clocks: Clocks,
    asked_ns: int,
    now_ns: int,
    interval_ns: int,
    parts: tuple[DeviceReading | DeviceGap, ...],
) -> HostReading:
    """A tick: the devices as they were when they were asked, the clocks as they are now."""
    trouble = driver.trouble(asked_ns)
    return HostReading(
        boot_ns=clocks.boot_ns(now_ns),
        wall_ns=clocks.wall_ns(now_ns),
        interval_ns=interval_ns,
        readings=parts,
        devices=driver.devices,
        trouble=trouble,
        suspended_ns=clocks.suspended_ns(now_ns),
    )
