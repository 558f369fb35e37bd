"""The calls into the driver: pynvml's function pointers and structures, with buffers of our own.

pynvml's wrappers allocate for each call and ask twice for each list; at 8 GPUs that
is 73 calls and more a tick where 42 do.
"""

import sys
import time
from ctypes import byref, c_uint, c_ulonglong, sizeof
from types import ModuleType


def _spare_the_child() -> None:
    """pynvml imports ctypes.util for a function it never calls; with all it drags in, that is 2 MiB."""
    hollow = ModuleType("ctypes.util")
    hollow.__dict__["find_library"] = None
    sys.modules.setdefault("ctypes.util", hollow)


_spare_the_child()

import pynvml  # noqa: E402 - after the line above, which is for it

from . import errors, marker, rows, samples  # noqa: E402
from .junk import Junk  # noqa: E402

COMPUTE, GRAPHICS, MPS, ENERGY, POWER, UTILIZATION, MEMORY, MEMORY_V1, SAMPLES = range(9)
_SYMBOLS = {
    COMPUTE: ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
    GRAPHICS: ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2"),
    MPS: ("nvmlDeviceGetMPSComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v2"),
    ENERGY: ("nvmlDeviceGetTotalEnergyConsumption",),
    POWER: ("nvmlDeviceGetPowerUsage",),
    UTILIZATION: ("nvmlDeviceGetUtilizationRates",),
    MEMORY: ("nvmlDeviceGetMemoryInfo_v2",),
    MEMORY_V1: ("nvmlDeviceGetMemoryInfo",),
    SAMPLES: ("nvmlDeviceGetProcessUtilization",),
}
"""Each fact, and the symbols that give it, best first; the rows of _v2 and _v3 are the same."""

FIRST_ROOM = 64
MAX_ROOM = 16384
"""Rows of a list. Far more contexts than a device can hold."""
GROWTHS = 4

Handle = pynvml.c_nvmlDevice_t
NVMLError = pynvml.NVMLError
nvml_init = pynvml.nvmlInit
nvml_shutdown = pynvml.nvmlShutdown


_ABSENT = "libnvidia-ml.so.1: cannot open shared object file: No such file or directory"
"""As glibc says it; Python leaves the language of its messages alone."""


def why_unloadable(error: NVMLError) -> str:
    """The loader's word on a library that is there and cannot be loaded, which pynvml calls not found; or nothing."""
    cause = error.__context__
    return str(cause) if isinstance(cause, OSError) and str(cause) != _ABSENT else ""


def _pointer(names: tuple[str, ...]) -> "pynvml.Function | None":
    for name in names:
        try:
            return pynvml._nvmlGetFunctionPointer(name)  # pyright: ignore[reportPrivateUsage] - no public one
        except NVMLError:
            continue  # an older driver; the next name, or none
    return None


class Lists:
    """A buffer that grows when the driver says that it has more."""

    __slots__ = ("_count", "_count_ref", "_kind", "_room", "buffer", "view")

    def __init__(self, kind: "type[pynvml.Structure]") -> None:
        self._kind = kind
        self._count = c_uint(0)
        self._count_ref = byref(self._count)
        self._make_room(FIRST_ROOM)

    def _make_room(self, room: int) -> None:
        # Twice what we admit to: drivers with longer rows write past what they were told of.
        self._room = room
        self.buffer = (self._kind * (room * 2))()
        self.view = memoryview(self.buffer).cast("B")

    def prepare(self) -> object:
        """The count to hand over: how much room there is. The driver writes how much it used."""
        self._count.value = self._room
        return self._count_ref

    @property
    def count(self) -> int:
        """How many the driver says it wrote. It cannot have written more than there was room for."""
        return min(self._count.value, self._room)

    def grow(self) -> bool:
        """After INSUFFICIENT_SIZE: room for what the driver announced, and as much again. False: enough."""
        wanted = max(self._count.value, self._room) * 2
        if self._room >= MAX_ROOM:
            return False
        self._make_room(min(wanted, MAX_ROOM))
        return True


class Driver:
    """The facts one can ask of a device, each as a code and a value. Counts its calls."""

    def __init__(self, where: marker.Marker) -> None:
        assert sizeof(pynvml.c_nvmlProcessInfo_v3_t) == rows.ROW.size
        assert sizeof(pynvml.c_nvmlProcessUtilizationSample_t) == samples.SAMPLE.size
        self.calls = 0
        self._marker = where
        self._pointers = {fact: _pointer(names) for fact, names in _SYMBOLS.items()}
        self._rows = Lists(pynvml.c_nvmlProcessInfo_v3_t)
        self._samples = Lists(pynvml.c_nvmlProcessUtilizationSample_t)
        self._energy = c_ulonglong(0)
        self._power = c_uint(0)
        self._rates = pynvml.c_nvmlUtilization_t()
        self._memory = pynvml.c_nvmlMemory_v2_t()
        self._memory.version = pynvml.nvmlMemory_v2
        self._memory_v1 = pynvml.c_nvmlMemory_t()

    def device_count(self) -> int:
        self.calls += 1
        return pynvml.nvmlDeviceGetCount()

    def handle(self, index: int) -> Handle:
        """Opens the device, which can take seconds where nothing keeps it open. Raises NVMLError."""
        self.calls += 1
        return pynvml.nvmlDeviceGetHandleByIndex(index)

    def version(self) -> str:
        """The kernel module's. Raises NVMLError."""
        self.calls += 1
        return pynvml.nvmlSystemGetDriverVersion()

    def bus_id(self, handle: Handle) -> str:
        """Where it is on the PCI bus; empty where the driver does not say."""
        self.calls += 1
        try:
            return pynvml.nvmlDeviceGetPciInfo(handle).busId
        except NVMLError:
            return ""

    def identity(self, handle: Handle) -> tuple[str, str, int]:
        """UUID, name and memory in bytes: what does not change while the driver is loaded.

        Raises NVMLError. Memory is 0 on boards that have none of their own and say so.
        """
        self.calls += 3
        try:
            memory_bytes = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        except NVMLError as error:
            if error.value != errors.NOT_SUPPORTED:
                raise
            memory_bytes = 0
        return pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle), memory_bytes

    def _ask(self, fact: int, *arguments: object) -> int:
        pointer = self._pointers[fact]
        if pointer is None:
            return errors.FUNCTION_NOT_FOUND
        self._marker.call(fact)
        self.calls += 1
        return pointer(*arguments)

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
        code = self._ask(SAMPLES, handle, lists.buffer, lists.prepare(), after)
        for _ in range(GROWTHS):
            if code != errors.INSUFFICIENT_SIZE or not lists.grow():
                break
            code = self._ask(SAMPLES, handle, lists.buffer, lists.prepare(), after)
        if code == errors.NOT_FOUND:
            return 0, samples.NOTHING
        if code:
            return code, None
        listed_us = listed_ns // 1000 + wall_us - boot_us
        return 0, cursors.accept(lists.view, lists.count, time.time_ns() // 1000, listed_us, here, junk)

    def energy_mj(self, handle: Handle) -> tuple[int, int]:
        code = self._ask(ENERGY, handle, byref(self._energy))
        return code, self._energy.value

    def power_mw(self, handle: Handle) -> tuple[int, int]:
        code = self._ask(POWER, handle, byref(self._power))
        return code, self._power.value

    def utilization_percent(self, handle: Handle) -> tuple[int, int]:
        code = self._ask(UTILIZATION, handle, byref(self._rates))
        return code, self._rates.gpu

    def memory_used_bytes(self, handle: Handle) -> tuple[int, int]:
        """Without what the driver reserves for itself."""
        code = self._ask(MEMORY, handle, byref(self._memory))
        return code, self._memory.used

    def memory_used_bytes_v1(self, handle: Handle) -> tuple[int, int]:
        """With what the driver reserves for itself: for drivers before 510, which know no other."""
        code = self._ask(MEMORY_V1, handle, byref(self._memory_v1))
        return code, self._memory_v1.used
