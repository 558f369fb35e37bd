"""What stands on a simulated GPU host. All times are CLOCK_BOOTTIME in nanoseconds."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["compute", "graphics", "mps"]
Mig = Literal["unsupported", "disabled", "enabled"]
Accounting = Literal["disabled", "enabled", "unsupported"]
Support = Literal["supported", "unsupported"]
Quirk = Literal[
    "zeros", "junk", "wide_rows", "empty_success", "stale_count", "mig_energy", "slow_accounting",
    "wild_utilization", "odd_pids", "zero_rows", "huge_memory", "growing_list", "mig_private",
]  # fmt: skip
DeviceKey = int | str
"""A device by its index in the scenario, or by its UUID."""


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at_ns`` on the value is ``value``, until the next step."""

    at_ns: int
    value: int


Schedule = int | tuple[Step, ...]
"""A value over time: a number that holds since boot, or steps with rising times (0 before the first)."""


@dataclass(frozen=True, slots=True)
class SimProcess:
    """A process on one device. Present in ``[start_ns, end_ns)``; without an end it stays."""

    pid: int
    start_ns: int = 0
    end_ns: int | None = None
    memory_bytes: Schedule | None = 1 << 30
    """None: the driver says that it is not available."""
    sm_percent: Schedule = 0
    kind: Kind = "compute"
    follow: bool = False
    """Also leaves the lists when its pid is gone or a zombie, as on a real host. Costs a read of /proc."""
    gpu_instance: int | None = None
    compute_instance: int | None = None


@dataclass(frozen=True, slots=True)
class SimInstance:
    """A MIG device: a compute instance and the GPU instance it is in.

    What is None follows from the device when the scenario is written: the UUID from its UUID and the
    two ids (as it does on real boards), the rest from its size.
    """

    gpu_instance: int
    compute_instance: int = 0
    compute_slices: int = 1
    memory_slices: int = 1
    """Of its GPU instance, as are ``memory_bytes`` and ``placement``, its first memory slice."""
    gpu_slices: int | None = None
    """Of its GPU instance. None: as many as ``compute_slices``."""
    memory_bytes: int | None = None
    multiprocessors: int | None = None
    placement: int | None = None
    utilization_percent: Schedule = 0
    """Of its own slices, as GPM tells it."""
    sm_utilization_percent: Schedule = 0
    """0: as ``utilization_percent``."""
    profile: str = ""
    """As it stands in the name: ``1g.10gb``."""
    uuid: str | None = None
    index: int | None = None
    """Among the MIG devices of its GPU. None: the first that is free."""
    generation: int = 0
    """Another one: destroyed and created again. ``Scenario.with_mig_instance`` counts it."""


@dataclass(frozen=True, slots=True)
class SimDevice:
    """One GPU. ``unlisted_bytes`` is memory in use that no listed process holds, as ghosts leave it."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    minor: int = 0
    pci_bus_id: str = "00000000:18:00.0"
    serial: str = ""
    memory_bytes: int = 85_520_809_984
    reserved_bytes: int = 577_765_376
    unlisted_bytes: int = 0
    utilization: Support = "supported"
    """Without it a board says nothing of how busy it, or a process on it, is."""
    utilization_percent: Schedule = 0
    sm_utilization_percent: Schedule = 0
    """As GPM tells it. 0: as ``utilization_percent``."""
    memory_utilization_percent: Schedule = 0
    power_mw: Schedule = 70_000
    temperature_c: Schedule = 35
    energy: Support = "supported"
    """Without it there is no energy counter; power can still be read."""
    energy_origin_ns: int = 0
    """When the energy counter stood at 0: the driver's load."""
    energy_steps_mj: tuple[Step, ...] = ()
    """What the counter is set to, and when; it counts on from there. It goes backwards where that is less."""
    mig: Mig = "disabled"
    mig_compute_slices: int = 7
    mig_memory_slices: int = 8
    multiprocessors: int = 132
    instances: tuple[SimInstance, ...] = ()
    mig_changes: int = 0
    """How many instances were ever created. Not in the file."""
    accounting: Accounting = "disabled"
    """When the driver is loaded. What a program sets later is kept beside the scenario."""
    gpm: Support | None = None
    """None: as boards of its name do, from Hopper on."""
    quirks: tuple[Quirk, ...] = ()
    lost: bool = False
    generation: int = 0
    """How often it was lost and has returned."""
    processes: tuple[SimProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """What calls suffer in ``[from_ns, until_ns)``: the delay, then the hang, then the error.

    ``call`` is the name of an NVML function: exact, without its version (all its versions), or a
    prefix with a star: ``nvmlInit*`` for all ways to initialise, as pynvml takes nvmlInitWithFlags.
    ``error`` is a name such as ``"GPU_IS_LOST"`` or a number of nvmlReturn_t.
    """

    call: str
    error: str | int | None = None
    device: DeviceKey | None = None
    """None: whatever device the call is about, and calls about none."""
    delay_ns: int = 0
    hang: bool = False
    from_ns: int = 0
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SimXid:
    """A critical error that programs are told of which wait for events: 79 is a GPU that fell off the bus."""

    device: DeviceKey
    code: int
    at_ns: int
    gpu_instance: int | None = None
    """None: of the whole device."""
    compute_instance: int | None = None


@dataclass(frozen=True, slots=True)
class SimDriver:
    """The kernel module, and the library on disk where that is of another version."""

    version: str = "580.95.05"
    library: str | None = None
    nvml: str = "13.580.95.05"
    cuda: int = 13000
    epoch: int = 1
    """Counts loads. A program that has initialised on another one must do so again."""
    missing: bool = False
