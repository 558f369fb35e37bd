"""What happens to a host, as a value: drawn from a seed, lived by the daemon, and judged by the oracle.

Times are *true* nanoseconds since the script began, which no clock of the host
shows: CLOCK_BOOTTIME is true time less the boot's ``up_ns``, the wall clock is it
plus an offset that steps change, and a suspended host's CLOCK_MONOTONIC stands still.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

S = 1_000_000_000
MS = 1_000_000
GRID_NS = 10 * MS
"""What procfs shows of a start; on it, starts are exact."""
WALL_AT_START_NS = 1_750_000_020 * S
"""A minute's start, UTC."""


class Kind(StrEnum):
    """What may go wrong."""

    CRASH = "crash"
    RESTART = "restart"
    REBOOT = "reboot"
    SUSPEND = "suspend"
    RELEASED = "released"
    HANG = "hang"
    HANG_ALL = "hang_all"
    LOST = "lost"
    GARBAGE = "garbage"
    RELOAD = "reload"
    RESET = "reset"
    STEP = "step"
    PID_REUSE = "pid_reuse"
    SHORT = "short"
    MIG = "mig"
    RULES = "rules"
    AWAY = "away"
    RESTORED = "restored"
    SLOW_DISK = "slow_disk"
    FULL_LOG = "full_log"


@dataclass(frozen=True, slots=True)
class Fault:
    """One of the things that go wrong, for those who read the script; what it does stands in the other tables."""

    kind: Kind
    at_ns: int
    until_ns: int
    words: str
    device_id: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A workload by its cgroup: ``kind`` and ``id`` are what docs/attribution.md makes of ``cgroup``."""

    kind: str
    id: str
    cgroup: str

    @property
    def is_host(self) -> bool:
        return self.kind == "host"


@dataclass(frozen=True, slots=True)
class Use:
    """A process has a context on a device in ``[open_ns, close_ns)``."""

    device_id: str
    open_ns: int
    close_ns: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Process:
    """Alive in ``[start_ns, end_ns)``."""

    pid: int
    job: Job
    start_ns: int
    end_ns: int
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Power:
    """From ``at_ns`` on, until the next."""

    at_ns: int
    mw: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """``power`` is sorted and begins at or before 0."""

    device_id: str
    model: str
    memory_bytes: int
    power: tuple[Power, ...]
    utilization_percent: int
    """While anybody holds it."""
    mig: bool = False
    """Cut into instances of COMPUTE_SLICES and MEMORY_SLICES; nobody holds the whole."""
    accounting: bool = False
    """The driver keeps a record of each process that has ended."""


COMPUTE_SLICES = 7
MEMORY_SLICES = 8


@dataclass(frozen=True, slots=True)
class Instance:
    """A MIG instance, there in ``[made_ns, gone_ns)``. Ids return: another one may bear the same later on."""

    device_id: str
    parent_id: str
    compute: int
    memory: int
    made_ns: int
    gone_ns: int


@dataclass(frozen=True, slots=True)
class Boot:
    """The kernel runs in ``[up_ns, down_ns)``."""

    boot_id: str
    up_ns: int
    down_ns: int


class Ending(StrEnum):
    """How a life of the daemon ends."""

    KILLED = "killed"
    KILLED_BEFORE_COMMIT = "killed before a commit"
    KILLED_AFTER_COMMIT = "killed after a commit"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Life:
    """The daemon is started at ``start_ns``; from ``end_ns`` on it ends, at the latest at ``latest_ns``."""

    start_ns: int
    end_ns: int
    ending: Ending
    latest_ns: int


@dataclass(frozen=True, slots=True)
class Rules:
    """From ``at_ns`` on these tenants answer for these jobs; a job that is not there has no rule."""

    at_ns: int
    tenants: Mapping[Job, str]


@dataclass(frozen=True, slots=True)
class Lease:
    """Somebody has ``units`` of ``of`` of a device in ``[start_ns, end_ns)``, whether or not a process uses it."""

    device_id: str
    job: Job
    tenant: str
    is_scheduled: bool
    """A scheduler's word is stronger than an operator's."""
    start_ns: int
    end_ns: int
    units: int
    of: int


@dataclass(frozen=True, slots=True)
class Blind:
    """No reading of the device, or of any, in ``[from_ns, until_ns)``; ``reason`` is a GapReason's value."""

    device_id: str | None
    from_ns: int
    until_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Glitch:
    """The device's energy counter reads ``mj`` in ``[from_ns, until_ns)``, whatever it is."""

    device_id: str
    from_ns: int
    until_ns: int
    mj: int


@dataclass(frozen=True, slots=True)
class Restart:
    """The device's energy counter begins at 0 again; whether the driver's epoch says so."""

    device_id: str
    at_ns: int
    evident: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """From ``from_ns``, in, to ``until_ns``, out."""

    from_ns: int
    until_ns: int

    def __contains__(self, at_ns: int) -> bool:
        return self.from_ns <= at_ns < self.until_ns

    @property
    def length_ns(self) -> int:
        return self.until_ns - self.from_ns


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody sets the wall clock forward or back."""

    at_ns: int
    by_ns: int


@dataclass(frozen=True, slots=True)
class Loss:
    """The collector's ledger is restored from a backup that is ``age_ns`` old: what came since is gone."""

    at_ns: int
    age_ns: int


@dataclass(frozen=True, slots=True)
class Script:
    """All of it. Every table is sorted by time."""

    seed: int
    length_ns: int
    every_s: float
    idle_every_s: float
    fine_s: float
    """The cadence around faults."""
    window_s: int
    gpus: tuple[Gpu, ...]
    boots: tuple[Boot, ...]
    lives: tuple[Life, ...]
    rules: tuple[Rules, ...]
    processes: tuple[Process, ...]
    faults: tuple[Fault, ...]
    answer_ns: int = 0
    """How long the driver takes for a reading."""
    connector: bool = False
    """The kernel tells the daemon of every process that begins and ends."""
    hang_ns: int = S
    """How long a reading takes when something begins to hang."""
    blinds: tuple[Blind, ...] = ()
    restarts: tuple[Restart, ...] = ()
    glitches: tuple[Glitch, ...] = ()
    orders: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """From when on the driver numbers the GPUs otherwise."""
    instances: tuple[Instance, ...] = ()
    leases: tuple[Lease, ...] = ()
    steps: tuple[Step, ...] = ()
    suspends: tuple[Stretch, ...] = ()
    releases: tuple[Stretch, ...] = ()
    """An operator has the daemon let go of the driver."""
    aways: tuple[Stretch, ...] = ()
    """Nobody answers at the collector's address."""
    losses: tuple[Loss, ...] = ()
    breaks_percent: int = 0
    """How often a stream breaks, for each message on it."""
    slow: tuple[Stretch, ...] = ()
    """Each commit waits for the end of it."""
    full: tuple[Stretch, ...] = ()
    """The log has no room for frames."""

    @property
    def device_ids(self) -> tuple[str, ...]:
        """Whole GPUs in their order, then instances, each id once."""
        return tuple(dict.fromkeys([gpu.device_id for gpu in self.gpus] + [each.device_id for each in self.instances]))
