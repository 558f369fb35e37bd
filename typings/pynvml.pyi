"""Only what we use of nvidia-ml-py."""

import ctypes
from collections.abc import Callable
from typing import TypeAlias

Structure: TypeAlias = ctypes.Structure
Function: TypeAlias = Callable[..., int]

class NVMLError(Exception):
    value: int

class c_nvmlDevice_t(ctypes.c_void_p): ...

class c_nvmlUtilization_t(ctypes.Structure):
    gpu: int
    memory: int

class c_nvmlMemory_t(ctypes.Structure):
    total: int
    free: int
    used: int

class c_nvmlMemory_v2_t(ctypes.Structure):
    version: int
    total: int
    reserved: int
    free: int
    used: int

class c_nvmlProcessInfo_v3_t(ctypes.Structure):
    pid: int
    usedGpuMemory: int

class c_nvmlProcessUtilizationSample_t(ctypes.Structure):
    pid: int
    timeStamp: int
    smUtil: int

class c_nvmlAccountingStats_t(ctypes.Structure):
    gpuUtilization: int
    maxMemoryUsage: int
    time: int
    startTime: int
    isRunning: int

class c_nvmlEventSet_t: ...

class c_nvmlEventData_t(ctypes.Structure):
    device: c_nvmlDevice_t
    eventType: int
    eventData: int

class c_nvmlGpuInstancePlacement_t(ctypes.Structure):
    start: int
    size: int

class c_nvmlGpuInstanceProfileInfo_t(ctypes.Structure):
    id: int
    sliceCount: int
    memorySizeMB: int

class c_nvmlGpuInstance_t: ...

class c_nvmlGpuInstanceInfo_t(ctypes.Structure):
    id: int
    placement: c_nvmlGpuInstancePlacement_t

class c_nvmlDeviceAttributes(ctypes.Structure):
    gpuInstanceSliceCount: int
    computeInstanceSliceCount: int
    memorySizeMB: int

class c_nvmlGpmSample_t: ...

class c_nvmlGpmMetric_t(ctypes.Structure):
    metricId: int
    nvmlReturn: int
    value: float

class c_nvmlGpmMetricsGet_t(ctypes.Structure):
    version: int
    numMetrics: int
    sample1: c_nvmlGpmSample_t
    sample2: c_nvmlGpmSample_t
    metrics: ctypes.Array[c_nvmlGpmMetric_t]

class c_nvmlGpmSupport_t(ctypes.Structure):
    version: int
    isSupportedDevice: int

class nvmlPciInfo_t(ctypes.Structure):
    busId: str

nvmlMemory_v2: int
nvmlEventTypeXidCriticalError: int
NVML_GPU_INSTANCE_PROFILE_COUNT: int
NVML_GPM_METRICS_GET_VERSION: int
NVML_GPM_METRIC_GRAPHICS_UTIL: int
NVML_ERROR_TIMEOUT: int

def _nvmlGetFunctionPointer(name: str) -> Function: ...
def nvmlInit() -> None: ...
def nvmlShutdown() -> None: ...
def nvmlSystemGetDriverVersion() -> str: ...
def nvmlDeviceGetCount() -> int: ...
def nvmlDeviceGetHandleByIndex(index: int) -> c_nvmlDevice_t: ...
def nvmlDeviceGetUUID(handle: c_nvmlDevice_t) -> str: ...
def nvmlDeviceGetName(handle: c_nvmlDevice_t) -> str: ...
def nvmlDeviceGetPciInfo(handle: c_nvmlDevice_t) -> nvmlPciInfo_t: ...
def nvmlDeviceGetMaxMigDeviceCount(device: c_nvmlDevice_t) -> int: ...
def nvmlDeviceGetGpuInstanceId(device: c_nvmlDevice_t) -> int: ...
def nvmlDeviceGetComputeInstanceId(device: c_nvmlDevice_t) -> int: ...
def nvmlDeviceGetAttributes_v2(device: c_nvmlDevice_t) -> c_nvmlDeviceAttributes: ...
def nvmlDeviceGetGpuInstanceProfileInfo(
    device: c_nvmlDevice_t, profile: int, version: int = 2
) -> c_nvmlGpuInstanceProfileInfo_t: ...
def nvmlDeviceGetGpuInstancePossiblePlacements(
    device: c_nvmlDevice_t, profileId: int, placementsRef: object, countRef: object
) -> int: ...
def nvmlDeviceGetGpuInstanceById(device: c_nvmlDevice_t, gpuInstanceId: int) -> c_nvmlGpuInstance_t: ...
def nvmlGpuInstanceGetInfo(gpuInstance: c_nvmlGpuInstance_t) -> c_nvmlGpuInstanceInfo_t: ...
def nvmlGpmQueryDeviceSupport(device: c_nvmlDevice_t) -> c_nvmlGpmSupport_t: ...
def nvmlGpmSampleAlloc() -> c_nvmlGpmSample_t: ...
def nvmlGpmSampleFree(gpmSample: c_nvmlGpmSample_t) -> None: ...
def nvmlEventSetCreate() -> c_nvmlEventSet_t: ...
def nvmlDeviceGetSupportedEventTypes(handle: c_nvmlDevice_t) -> int: ...
def nvmlDeviceRegisterEvents(handle: c_nvmlDevice_t, eventTypes: int, eventSet: c_nvmlEventSet_t) -> None: ...
def nvmlDeviceGetSerial(handle: c_nvmlDevice_t) -> str: ...
def nvmlDeviceGetUtilizationRates(handle: c_nvmlDevice_t) -> c_nvmlUtilization_t: ...
def nvmlDeviceGetMemoryInfo(handle: c_nvmlDevice_t, version: int | None = None) -> c_nvmlMemory_v2_t: ...
def nvmlDeviceGetTotalEnergyConsumption(handle: c_nvmlDevice_t) -> int: ...
def nvmlDeviceGetComputeRunningProcesses(handle: c_nvmlDevice_t) -> list[c_nvmlProcessInfo_v3_t]: ...
def nvmlDeviceGetGraphicsRunningProcesses(handle: c_nvmlDevice_t) -> list[c_nvmlProcessInfo_v3_t]: ...
def nvmlDeviceGetMPSComputeRunningProcesses(handle: c_nvmlDevice_t) -> list[c_nvmlProcessInfo_v3_t]: ...
def nvmlDeviceGetProcessUtilization(
    handle: c_nvmlDevice_t, timeStamp: int
) -> list[c_nvmlProcessUtilizationSample_t]: ...
