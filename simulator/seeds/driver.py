"""What the probe would say of the GPUs of a script at an instant: the driver, seen through readings."""

from ...model.reading import Device, DeviceReading, HostReading, ProcessOnDevice
from .clocks import Clocks
from .energy import Counter
from .script import Gpu, Script
from .timeline import Timeline, timelines


class Driver:
    """Outlives the daemon's lives. Holds no state but the script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._clocks = Clocks(script)
        self._timelines: dict[str, Timeline] = timelines(script)
        self._counters = {gpu.device_id: Counter(gpu, script) for gpu in script.gpus}

    def read(self, true_ns: int, interval_ns: int) -> HostReading:
        """One tick, taken at this instant."""
        boot_ns = self._clocks.boot_ns(true_ns)
        return HostReading(
            boot_ns=boot_ns,
            wall_ns=self._clocks.wall_ns(true_ns),
            interval_ns=interval_ns,
            readings=tuple(self._look(gpu, true_ns, boot_ns) for gpu in self._script.gpus),
            devices=tuple(Device(gpu.device_id, gpu.model, gpu.memory_bytes) for gpu in self._script.gpus),
        )

    def _look(self, gpu: Gpu, true_ns: int, boot_ns: int) -> DeviceReading:
        held = self._timelines[gpu.device_id].at(true_ns).holdings
        counter = self._counters[gpu.device_id]
        return DeviceReading(
            device_id=gpu.device_id,
            at_ns=boot_ns,
            processes=tuple(ProcessOnDevice(each.process.pid, each.use.memory_bytes) for each in held),
            utilization_percent=gpu.utilization_percent if held else 0,
            memory_used_bytes=sum(each.use.memory_bytes for each in held),
            energy_mj=counter.read_mj(true_ns),
            epoch=counter.epoch(true_ns),
        )
