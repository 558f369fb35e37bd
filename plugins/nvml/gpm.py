"""How busy MIG instances are: GPM, from Hopper on.

The driver keeps counters that it refreshes each 100 ms. What lies between two readings of
them is the mean of that time. They are of a GPU instance: where several compute instances
share one, nobody can tell which of them was busy.
"""

from contextlib import suppress
from ctypes import byref

from . import binding, errors
from .binding import Asker, Handle, NVMLError, pynvml


class Gpm:
    """Of one GPU. Whether it has GPM is asked once."""

    __slots__ = ("_asker", "_gpu", "_supported", "_table")

    def __init__(self, asker: Asker, gpu: Handle) -> None:
        self._asker = asker
        self._gpu = gpu
        self._supported: bool | None = None
        self._table: pynvml.c_nvmlGpmMetricsGet_t | None = None

    def activity(self, gpu_instance: int) -> "Activity | None":
        """None on boards without GPM, and where there is no memory for one more."""
        if self._supported is None:
            self._supported = self._is_supported()
        if not self._supported:
            return None
        try:
            return Activity(self, gpu_instance, self._sample(), self._sample())
        except NVMLError:
            return None

    def fill(self, gpu_instance: int, sample: "pynvml.c_nvmlGpmSample_t") -> int:
        """NVML's code."""
        return self._asker.ask(binding.GPM_SAMPLE, self._gpu, gpu_instance, sample)

    def percent(self, before: "pynvml.c_nvmlGpmSample_t", now: "pynvml.c_nvmlGpmSample_t") -> tuple[int, int]:
        """Between two samples, rounded down."""
        if self._table is None:
            self._table = pynvml.c_nvmlGpmMetricsGet_t()
            self._table.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        table = self._table
        table.numMetrics, table.sample1, table.sample2 = 1, before, now
        metric = table.metrics[0]
        metric.metricId = pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL
        code = self._asker.ask(binding.GPM_METRICS, byref(table)) or metric.nvmlReturn
        return code, 0 if code else _whole_percent(metric.value)

    def free(self, sample: "pynvml.c_nvmlGpmSample_t") -> None:
        with suppress(NVMLError):
            self._asker.seldom(pynvml.nvmlGpmSampleFree, sample)

    def _is_supported(self) -> bool:
        try:
            return bool(self._asker.seldom(pynvml.nvmlGpmQueryDeviceSupport, self._gpu).isSupportedDevice)
        except NVMLError:
            return False

    def _sample(self) -> "pynvml.c_nvmlGpmSample_t":
        return self._asker.seldom(pynvml.nvmlGpmSampleAlloc)


def _whole_percent(value: float) -> int:
    """-1 for what is no percentage: NaN is neither above nor below."""
    return min(int(value), 100) if 0 <= value <= 101 else -1


class Activity:
    """Of one GPU instance since it was asked for last."""

    __slots__ = ("_before", "_gpm", "_gpu_instance", "_known", "_now", "_primed")

    def __init__(
        self, gpm: Gpm, gpu_instance: int, before: "pynvml.c_nvmlGpmSample_t", now: "pynvml.c_nvmlGpmSample_t"
    ) -> None:
        self._gpm, self._gpu_instance = gpm, gpu_instance
        self._before, self._now = before, now
        self._primed = False
        self._known: int | None = None

    def percent(self) -> int | None:
        """None at first, and where the driver does not say; -1 for what cannot be true."""
        if self._gpm.fill(self._gpu_instance, self._now):
            self._primed = False  # the next one must not reach back over this
            return None
        if not self._primed:
            self._primed = True
            self._before, self._now = self._now, self._before
            return None
        code, percent = self._gpm.percent(self._before, self._now)
        if code == errors.NO_DATA:
            return self._known  # not refreshed yet: the older one stays
        self._before, self._now = self._now, self._before
        self._known = None if code else percent
        return self._known

    def close(self) -> None:
        self._gpm.free(self._before)
        self._gpm.free(self._now)
