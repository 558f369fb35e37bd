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
    FUNCTION_NOT_FOUND: "libnvidia-ml.so.1 lacks a function",
    GPU_IS_LOST: "GPU is lost",
    RESET_REQUIRED: "GPU requires a reset",
    LIB_RM_VERSION_MISMATCH: "library and driver differ in version",
    GPU_NOT_FOUND: "the driver sees no GPU",
    BAD_ROWS: "a process list that cannot be true",
}

_REINSTALL = "install the NVIDIA driver's library for this machine again"
_CURES = {
    NO_PERMISSION: "let this user open /dev/nvidiactl and /dev/nvidia*",
    DRIVER_NOT_LOADED: "load the kernel module (modprobe nvidia); dmesg says what it lacks",
    LIBRARY_NOT_FOUND: "install the NVIDIA driver, or mount its library into the container; "
    "an installation is noticed within seconds",
    FUNCTION_NOT_FOUND: _REINSTALL,
    LIB_RM_VERSION_MISMATCH: "finish the driver's upgrade: load its new kernel module, or reboot",
    GPU_NOT_FOUND: "see whether nvidia-smi -L lists any, and whether they are passed through to this machine",
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
    if code == GPU_NOT_FOUND:
        return "gpu_lost"  # the driver is there, and answers
    if code in (LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED):
        return "driver_missing"
    return "driver_reload" if code in DRIVER_GONE else "nvml_error"


def words(code: int) -> str:
    """For a log line."""
    return _NAMES.get(code, f"NVML error {code}")


def words_and_cure(code: int, why: str = "") -> str:
    """For the operator. ``why`` is what the loader says of a library that is there and cannot be loaded."""
    if code == LIBRARY_NOT_FOUND and why:
        return f"libnvidia-ml.so.1 cannot be loaded: {why}; {_REINSTALL}"
    return f"{words(code)}; {_CURES[code]}" if code in _CURES else words(code)
