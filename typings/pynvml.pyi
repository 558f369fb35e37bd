"""Only what we use of nvidia-ml-py."""

import ctypes
from collections.abc import Callable
from typing import TypeAlias

Structure: TypeAlias = ctypes.Structure
Function: TypeAlias = Callable[..., int]

class NVMLError(Exception):
    value: int

class c_nvmlDevice_t: ...

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

class nvmlPciInfo_t(ctypes.Structure):
    busId: str

nvmlMemory_v2: int
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
