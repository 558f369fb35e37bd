"""NVIDIA's own binding (pynvml), as the child uses it: its function pointers, structures and wrappers.

What is asked at every tick goes through the pointers, with buffers of our own: pynvml's
wrappers allocate for each call and ask twice for each list, which at 8 GPUs makes 73
calls and more a tick where 42 do. What is asked seldom goes through the wrappers.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar


def _spare_the_child() -> None:
    """pynvml imports ctypes.util for a function it never calls; with all it drags in, that is 2 MiB."""
    hollow = ModuleType("ctypes.util")
    hollow.__dict__["find_library"] = None
    sys.modules.setdefault("ctypes.util", hollow)


_spare_the_child()

import pynvml  # noqa: E402 - after the line above, which is for it

from . import errors, marker  # noqa: E402

__all__ = ["Asker", "Handle", "NVMLError", "nvml_init", "nvml_shutdown", "pynvml", "why_unloadable"]

(
    COMPUTE, GRAPHICS, MPS, ENERGY, POWER, UTILIZATION, MEMORY, MEMORY_V1, SAMPLES,
    MIG_MODE, MIG_HANDLE, INSTANCE_MEMORY, GPM_SAMPLE, GPM_METRICS,
    ACCOUNTING_MODE, ACCOUNTING_ON, ACCOUNTING_PIDS, ACCOUNTING_STATS, EVENT_WAIT,
) = range(19)  # fmt: skip
FIRST_APART = MIG_MODE
"""From here on they are asked only where there is something to ask for, and are not in the budget of a tick."""

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
    MIG_MODE: ("nvmlDeviceGetMigMode",),
    MIG_HANDLE: ("nvmlDeviceGetMigDeviceHandleByIndex",),
    INSTANCE_MEMORY: ("nvmlDeviceGetMemoryInfo_v2",),
    GPM_SAMPLE: ("nvmlGpmMigSampleGet",),
    GPM_METRICS: ("nvmlGpmMetricsGet",),
    ACCOUNTING_MODE: ("nvmlDeviceGetAccountingMode",),
    ACCOUNTING_ON: ("nvmlDeviceSetAccountingMode",),
    ACCOUNTING_PIDS: ("nvmlDeviceGetAccountingPids",),
    ACCOUNTING_STATS: ("nvmlDeviceGetAccountingStats",),
    EVENT_WAIT: ("nvmlEventSetWait_v2", "nvmlEventSetWait"),
}
"""Each fact, and the symbols that give it, best first; the rows of _v2 and _v3 are the same."""

Handle = pynvml.c_nvmlDevice_t
NVMLError = pynvml.NVMLError
nvml_init = pynvml.nvmlInit
nvml_shutdown = pynvml.nvmlShutdown

T = TypeVar("T")

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


class Asker:
    """Calls the driver, says where it is while it does, and counts."""

    __slots__ = ("_now_in", "_pointers", "apart", "calls")

    def __init__(self, where: marker.Marker) -> None:
        self.calls = 0
        """Those in the budget of a tick."""
        self.apart = 0
        """The others: seldom ones, MIG, GPM, accounting, events."""
        self._now_in = where.now_in
        self._pointers = {fact: _pointer(names) for fact, names in _SYMBOLS.items()}

    def ask(self, fact: int, *arguments: object) -> int:
        """NVML's code."""
        pointer = self._pointers[fact]
        if pointer is None:
            return errors.FUNCTION_NOT_FOUND
        self._now_in[0] = fact  # before each call, so that a hang can be named
        if fact < FIRST_APART:
            self.calls += 1
        else:
            self.apart += 1
        return pointer(*arguments)

    def take_counts(self) -> list[int]:
        """Calls and calls apart since the last time."""
        counts = [self.calls, self.apart]
        self.calls = self.apart = 0
        return counts

    def seldom(self, wrapper: Callable[..., T], *arguments: object) -> T:
        """Through one of pynvml's wrappers. Raises NVMLError."""
        self.apart += 1
        return wrapper(*arguments)
