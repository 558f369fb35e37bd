"""NVML's errors, sorted by what we do about them.

Plain numbers, as in nvml.h (``nvmlReturn_t``), and no import: the child that calls
the driver carries as little as it can, and the daemon never loads pynvml at all.
"""

SUCCESS = 0
UNINITIALIZED = 1
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
ARGUMENT_VERSION_MISMATCH = 25
DEPRECATED = 26
GPU_NOT_FOUND = 28
UNKNOWN = 999

BAD_ROWS = -1
"""Ours: the call succeeded, and what it gave cannot be true."""

PERMANENT = frozenset({NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH, DEPRECATED})
"""A property of the board or of the driver: not asked again until the driver is another."""

DEVICE_LOST = frozenset({GPU_IS_LOST, RESET_REQUIRED})
"""The device is out of reach for every call, and comes back only to a new initialisation."""

DRIVER_GONE = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, LIB_RM_VERSION_MISMATCH})
"""No call of this process will succeed any more. A version mismatch is cured by a new process only."""

_NAMES = {
    UNINITIALIZED: "not initialised",
    NO_PERMISSION: "no permission",
    DRIVER_NOT_LOADED: "driver not loaded",
    LIBRARY_NOT_FOUND: "libnvidia-ml.so.1 not found",
    GPU_IS_LOST: "GPU is lost",
    RESET_REQUIRED: "GPU requires a reset",
    LIB_RM_VERSION_MISMATCH: "library and driver differ in version",
    GPU_NOT_FOUND: "no GPU",
    BAD_ROWS: "a process list that cannot be true",
}


def condemns_device(code: int) -> bool:
    """Whether the answer to one question says that the others cannot be answered either."""
    return code in DEVICE_LOST or code in DRIVER_GONE


def gap_reason(code: int) -> str:
    """The ``GapReason`` of a device whose process list could not be read."""
    if code in DEVICE_LOST:
        return "gpu_lost"
    if code in DRIVER_GONE:
        return "driver_reload"
    return "bad_reading" if code == BAD_ROWS else "nvml_error"


def trouble_reason(code: int) -> str:
    """The ``GapReason`` of a host on which NVML did not even start."""
    if code in (LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED, GPU_NOT_FOUND):
        return "driver_missing"
    return "driver_reload" if code in DRIVER_GONE else "nvml_error"


def words(code: int) -> str:
    """For a log line."""
    return _NAMES.get(code, f"NVML error {code}")
