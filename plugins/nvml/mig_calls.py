"""The calls about MIG: what a GPU is cut into, from the hardware's own attributes.

Where the fractions come from (nvml.h):

- compute slices of the GPU: the largest ``sliceCount`` of its profiles; of an instance:
  ``computeInstanceSliceCount`` of its attributes;
- memory slices of the GPU: the size of the placement of that profile; of a GPU instance:
  the size of its own placement. Only root is told placements. Without them both are
  counted in memory of the smallest profile: of the GPU rounded down, of an instance to
  the nearest, for the driver keeps a bit of each (an H200's 140 GiB are 8 times 16 GiB).

An instance in our sense is a compute instance. Of several in one GPU instance, which share
its memory, each has as much of the memory slices as of the compute slices, rounded down;
what is left over is stranded.
"""

from ctypes import byref, c_uint
from typing import NamedTuple

from . import binding
from .binding import Asker, Handle, NVMLError, pynvml

Ids = tuple[int, int]
"""GPU instance, compute instance."""


class Whole(NamedTuple):
    """What a GPU can be cut into: its compute slices, its memory slices, and the least memory in MiB."""

    compute: int
    memory: int
    least_mib: int

    def slices_in(self, memory_mib: int) -> int:
        """Memory slices of a GPU instance of that size."""
        return min(max((2 * memory_mib + self.least_mib) // (2 * self.least_mib), 1), self.memory)


class Part(NamedTuple):
    """A MIG instance, as it is found under an index."""

    handle: Handle
    uuid: str
    name: str
    ids: Ids
    memory_bytes: int
    compute: int
    memory: int


class MigCalls:
    """Raises NVMLError where it gives no code."""

    __slots__ = ("_asker", "_mode", "_pending")

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._mode = c_uint(0)
        self._pending = c_uint(0)

    def mode(self, gpu: Handle) -> tuple[int, int]:
        """1 where it is in MIG mode."""
        code = self._asker.ask(binding.MIG_MODE, gpu, byref(self._mode), byref(self._pending))
        return code, self._mode.value

    def most(self, gpu: Handle) -> int:
        """How many instances there can be."""
        return self._asker.seldom(pynvml.nvmlDeviceGetMaxMigDeviceCount, gpu)

    def at(self, gpu: Handle, index: int) -> tuple[int, Handle]:
        """The instance under an index, of which there may be none."""
        handle = Handle()
        return self._asker.ask(binding.MIG_HANDLE, gpu, index, byref(handle)), handle

    def uuid(self, handle: Handle) -> str:
        return self._asker.seldom(pynvml.nvmlDeviceGetUUID, handle)

    def whole(self, gpu: Handle) -> Whole | None:
        """None where the driver tells no profile."""
        profiles = [
            known for number in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT) if (known := self._profile(gpu, number))
        ]
        if not profiles:
            return None
        largest = max(profiles, key=lambda profile: profile.sliceCount)
        least_mib = max(min(profile.memorySizeMB for profile in profiles), 1)
        memory = self._placement(gpu, largest.id) or largest.memorySizeMB // least_mib
        return Whole(largest.sliceCount, memory, least_mib)

    def part(self, gpu: Handle, handle: Handle, whole: Whole) -> Part:
        seldom = self._asker.seldom
        ids = (seldom(pynvml.nvmlDeviceGetGpuInstanceId, handle), seldom(pynvml.nvmlDeviceGetComputeInstanceId, handle))
        has = seldom(pynvml.nvmlDeviceGetAttributes_v2, handle)
        compute, together = (
            has.computeInstanceSliceCount,
            max(has.gpuInstanceSliceCount, has.computeInstanceSliceCount, 1),
        )
        memory = self._placed(gpu, ids[0]) or whole.slices_in(has.memorySizeMB)
        return Part(
            handle,
            self.uuid(handle),
            seldom(pynvml.nvmlDeviceGetName, handle),
            ids,
            seldom(pynvml.nvmlDeviceGetMemoryInfo, handle).total,
            compute,
            memory * compute // together,
        )

    def _profile(self, gpu: Handle, number: int) -> "pynvml.c_nvmlGpuInstanceProfileInfo_t | None":
        try:
            return self._asker.seldom(pynvml.nvmlDeviceGetGpuInstanceProfileInfo, gpu, number, 1)
        except NVMLError:
            return None  # not on this board

    def _placement(self, gpu: Handle, profile: int) -> int:
        """Memory slices of a profile, 0 where the driver does not say."""
        count, seldom = c_uint(0), self._asker.seldom
        try:
            seldom(pynvml.nvmlDeviceGetGpuInstancePossiblePlacements, gpu, profile, None, byref(count))
            placements = (pynvml.c_nvmlGpuInstancePlacement_t * max(count.value, 1))()
            seldom(pynvml.nvmlDeviceGetGpuInstancePossiblePlacements, gpu, profile, placements, byref(count))
        except NVMLError:
            return 0
        return max((placement.size for placement in placements), default=0)

    def _placed(self, gpu: Handle, gpu_instance: int) -> int:
        """Memory slices of a GPU instance, 0 where the driver does not say."""
        try:
            instance = self._asker.seldom(pynvml.nvmlDeviceGetGpuInstanceById, gpu, gpu_instance)
            return self._asker.seldom(pynvml.nvmlGpuInstanceGetInfo, instance).placement.size
        except NVMLError:
            return 0
