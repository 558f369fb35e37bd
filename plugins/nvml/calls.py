"""The calls into the driver that are made at every tick."""

import time
from ctypes import byref, c_uint, c_ulonglong, sizeof

from . import binding, errors, rows, samples
from .accounting_calls import AccountingCalls
from .binding import Asker, Handle, NVMLError, pynvml
from .junk import Junk
from .lists import GROWTHS, Lists


class Driver:
    """The facts one can ask of a device, each as a code and a value. Counts its calls."""

    def __init__(self, asker: Asker) -> None:
        assert sizeof(pynvml.c_nvmlProcessInfo_v3_t) == rows.ROW.size
        assert sizeof(pynvml.c_nvmlProcessUtilizationSample_t) == samples.SAMPLE.size
        self.asker = asker
        self._ask = asker.ask
        self.accounting = AccountingCalls(asker)
        self._rows = Lists(pynvml.c_nvmlProcessInfo_v3_t)
        self._samples = Lists(pynvml.c_nvmlProcessUtilizationSample_t)
        self._energy = c_ulonglong(0)
        self._power = c_uint(0)
        self._rates = pynvml.c_nvmlUtilization_t()
        self._memory = pynvml.c_nvmlMemory_v2_t()
        self._memory.version = pynvml.nvmlMemory_v2
        self._memory_v1 = pynvml.c_nvmlMemory_t()

    def device_count(self) -> int:
        return self.asker.seldom(pynvml.nvmlDeviceGetCount)

    def handle(self, index: int) -> Handle:
        """Opens the device, which can take seconds where nothing keeps it open. Raises NVMLError."""
        return self.asker.seldom(pynvml.nvmlDeviceGetHandleByIndex, index)

    def version(self) -> str:
        """The kernel module's. Raises NVMLError."""
        return self.asker.seldom(pynvml.nvmlSystemGetDriverVersion)

    def bus_id(self, handle: Handle) -> str:
        """Where it is on the PCI bus; empty where the driver does not say."""
        try:
            return self.asker.seldom(pynvml.nvmlDeviceGetPciInfo, handle).busId
        except NVMLError:
            return ""

    def knows_used_memory(self, handle: Handle) -> bool:
        """Whether it tells memory in use without what it reserves for itself, as drivers do since 510."""
        return self.memory_used_bytes(handle)[0] not in errors.PERMANENTS

    def identity(self, handle: Handle) -> tuple[str, str, int]:
        """UUID, name and memory in bytes: what does not change while the driver is loaded.

        Raises NVMLError. Memory is 0 on boards that have none of their own and say so.
        """
        try:
            memory_bytes = self.asker.seldom(pynvml.nvmlDeviceGetMemoryInfo, handle).total
        except NVMLError as error:
            if error.value != errors.NOT_SUPPORTED:
                raise
            memory_bytes = 0
        uuid = self.asker.seldom(pynvml.nvmlDeviceGetUUID, handle)
        return uuid, self.asker.seldom(pynvml.nvmlDeviceGetName, handle), memory_bytes

    def list_rows(self, handle: Handle, fact: int) -> tuple[int, bytes]:
        """One of the lists COMPUTE, GRAPHICS and MPS, as the driver wrote it."""
        lists = self._rows
        code = self._ask(fact, handle, lists.prepare(), lists.buffer)
        for _ in range(GROWTHS):
            if code != errors.INSUFFICIENT_SIZE or not lists.grow():
                break
            code = self._ask(fact, handle, lists.prepare(), lists.buffer)
        return code, b"" if code else bytes(lists.view[: lists.count * rows.ROW.size])

    def samples(
        self, handle: Handle, cursors: samples.Cursors, listed_ns: int, here: rows.Holders, junk: Junk
    ) -> tuple[int, samples.Taken | None]:
        """The new samples of processes, of those ``here`` (in a list since ``listed_ns``) and of others."""
        lists = self._samples
        boot_us, wall_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000, time.time_ns() // 1000
        after = c_ulonglong(cursors.ask_from(wall_us, boot_us))
        code = self._ask(binding.SAMPLES, handle, lists.buffer, lists.prepare(), after)
        for _ in range(GROWTHS):
            if code != errors.INSUFFICIENT_SIZE or not lists.grow():
                break
            code = self._ask(binding.SAMPLES, handle, lists.buffer, lists.prepare(), after)
        if code == errors.NOT_FOUND:
            return 0, samples.NOTHING
        if code:
            return code, None
        listed_us = listed_ns // 1000 + wall_us - boot_us
        return 0, cursors.accept(lists.view, lists.count, time.time_ns() // 1000, listed_us, here, junk)

    def energy_mj(self, handle: Handle) -> tuple[int, int]:
        code = self._ask(binding.ENERGY, handle, byref(self._energy))
        return code, self._energy.value

    def power_mw(self, handle: Handle) -> tuple[int, int]:
        code = self._ask(binding.POWER, handle, byref(self._power))
        return code, self._power.value

    def utilization_percent(self, handle: Handle) -> tuple[int, int]:
        code = self._ask(binding.UTILIZATION, handle, byref(self._rates))
        return code, self._rates.gpu

    def memory_used_bytes(self, handle: Handle) -> tuple[int, int]:
        """Without what the driver reserves for itself."""
        code = self._ask(binding.MEMORY, handle, byref(self._memory))
        return code, self._memory.used

    def instance_bytes(self, handle: Handle) -> tuple[int, int]:
        """Memory in use of a MIG instance."""
        code = self._ask(binding.INSTANCE_MEMORY, handle, byref(self._memory))
        return code, self._memory.used

    def memory_used_bytes_v1(self, handle: Handle) -> tuple[int, int]:
        """With what the driver reserves for itself: for drivers before 510, which know no other."""
        code = self._ask(binding.MEMORY_V1, handle, byref(self._memory_v1))
        return code, self._memory_v1.used
