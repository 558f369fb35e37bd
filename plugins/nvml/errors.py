"""NVML's errors, sorted by what we do about them.

Plain numbers, as in nvml.h (``nvmlReturn_t``), and no import: the child that calls
the driver carries as little as it can, and the daemon never loads pynvml at all.
"""

SUCCESS = 0
UNINITIALIZED = 1
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
ALREADY_INITIALIZED = 5
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
INSUFFICIENT_POWER = 8
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
IRQ_ISSUE = 11
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
CORRUPTED_INFOROM = 14
GPU_IS_LOST = 15
RESET_REQUIRED = 16
OPERATING_SYSTEM = 17
LIB_RM_VERSION_MISMATCH = 18
IN_USE = 19
MEMORY = 20
NO_DATA = 21
VGPU_ECC_NOT_SUPPORTED = 22
INSUFFICIENT_RESOURCES = 23
FREQ_NOT_SUPPORTED = 24
ARGUMENT_VERSION_MISMATCH = 25
DEPRECATED = 26
NOT_READY = 27
GPU_NOT_FOUND = 28
INVALID_STATE = 29
RESET_TYPE_NOT_SUPPORTED = 30
UNKNOWN = 999

BAD_ROWS = -1
"""Ours: the call succeeded, and what it gave cannot be true."""

PERMANENT, PASSING, GAP = "permanent", "passing", "gap"
"""What becomes of the fact that was asked for:

- permanent: a property of the board or of the driver. It is not asked for again until the driver is another.
- passing: it goes by itself. The fact is missing this once; a list that changes
  seldom (graphics, MPS) stays what it was, two times in a row at most.
- gap: nobody can tell how long. The fact is missing while it says so, and without
  any one of its lists the device is a gap.

The list of compute processes is what all time is metered by: without it, whatever the reason, the device is a gap.
"""

_REPORT = "please report it with the driver's version: gputally or the driver's library is wrong"
_REINSTALL = "install the NVIDIA driver's library for this machine again"
_DMESG = "dmesg says more, in lines with NVRM"
_RESET = "reset it (nvidia-smi --gpu-reset) or reboot; dmesg names the Xid"

_TABLE = {
    UNINITIALIZED: (GAP, "not initialised", ""),
    INVALID_ARGUMENT: (GAP, "an invalid argument", _REPORT),
    NOT_SUPPORTED: (PERMANENT, "not supported by this board", ""),
    NO_PERMISSION: (PERMANENT, "no permission", "let this user open /dev/nvidiactl and /dev/nvidia*"),
    ALREADY_INITIALIZED: (PASSING, "already initialised", ""),
    NOT_FOUND: (PASSING, "not found", ""),
    INSUFFICIENT_SIZE: (PASSING, "more to tell than there was room for", ""),
    INSUFFICIENT_POWER: (GAP, "external power cables are not attached", "attach them"),
    DRIVER_NOT_LOADED: (
        GAP, "driver not loaded", "load the kernel module (modprobe nvidia); dmesg says what it lacks",
    ),
    TIMEOUT: (PASSING, "timeout", ""),
    IRQ_ISSUE: (GAP, "the kernel has trouble with the GPU's interrupts", _DMESG),
    LIBRARY_NOT_FOUND: (
        GAP, "libnvidia-ml.so.1 not found",
        "install the NVIDIA driver, or mount its library into the container; an installation is noticed within seconds",
    ),
    FUNCTION_NOT_FOUND: (PERMANENT, "libnvidia-ml.so.1 lacks a function", _REINSTALL),
    CORRUPTED_INFOROM: (GAP, "the GPU's infoROM is corrupted", "ask the board's vendor for a new one"),
    GPU_IS_LOST: (GAP, "GPU is lost", _RESET),
    RESET_REQUIRED: (GAP, "GPU requires a reset", _RESET),
    OPERATING_SYSTEM: (GAP, "an error of the operating system", _DMESG),
    LIB_RM_VERSION_MISMATCH: (
        GAP, "library and driver differ in version",
        "finish the driver's upgrade: load its new kernel module, or reboot",
    ),
    IN_USE: (PASSING, "in use", ""),
    MEMORY: (PASSING, "out of memory", ""),
    NO_DATA: (PASSING, "no data", ""),
    VGPU_ECC_NOT_SUPPORTED: (PERMANENT, "not supported while ECC is on", ""),
    INSUFFICIENT_RESOURCES: (PASSING, "out of resources", ""),
    FREQ_NOT_SUPPORTED: (PERMANENT, "frequency not supported", ""),
    ARGUMENT_VERSION_MISMATCH: (PERMANENT, "a version of a structure that it does not know", ""),
    DEPRECATED: (PERMANENT, "deprecated", ""),
    NOT_READY: (PASSING, "not ready", ""),
    GPU_NOT_FOUND: (
        GAP, "the driver sees no GPU",
        "see whether nvidia-smi -L lists any, and whether they are passed through to this machine",
    ),
    INVALID_STATE: (GAP, "not in a state to answer", _DMESG),
    RESET_TYPE_NOT_SUPPORTED: (PERMANENT, "reset not supported", ""),
    UNKNOWN: (GAP, "an unknown error inside the driver", _DMESG),
    BAD_ROWS: (GAP, "a process list that cannot be true", ""),
}  # fmt: skip
"""Every code of the header: its sort, in words, and the cure where there is one."""

_UNHEARD_OF = (GAP, "NVML error {}, of which this version of gputally does not know", "")

PERMANENTS = frozenset(code for code, (sort, _, _) in _TABLE.items() if sort == PERMANENT)

DEVICE_LOST = frozenset({GPU_IS_LOST, RESET_REQUIRED})
"""The device is out of reach for every call, and comes back only to a new initialisation."""

DRIVER_GONE = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, LIB_RM_VERSION_MISMATCH})
"""No call of this process will succeed any more. A version mismatch is cured by a new process only."""

_CONDEMNING = DEVICE_LOST | DRIVER_GONE


def sort(code: int) -> str:
    """PERMANENT, PASSING or GAP. What a later driver says and we do not know is a gap."""
    return _TABLE.get(code, _UNHEARD_OF)[0]


def condemns_device(code: int) -> bool:
    """Whether the answer to one question says that the others cannot be answered either."""
    return code in _CONDEMNING


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
    return _TABLE.get(code, _UNHEARD_OF)[1].format(code)


def words_and_cure(code: int, why: str = "") -> str:
    """For the operator. ``why`` is what the loader says of a library that is there and cannot be loaded."""
    if code == LIBRARY_NOT_FOUND and why:
        return f"libnvidia-ml.so.1 cannot be loaded: {why}; {_REINSTALL}"
    cure = _TABLE.get(code, _UNHEARD_OF)[2]
    return f"{words(code)}; {cure}" if cure else words(code)
