"""What may be asked of a usage store, and what it answers: values, the same for every kind of store."""

from dataclasses import dataclass
from enum import StrEnum

from ..model.interval import Interval


class Dimension(StrEnum):
    """What usage can be grouped by."""

    SKU = "sku"
    GPU_MODEL = "gpu_model"
    ORG = "org"
    PROJECT = "project"
    WORKLOAD = "workload"
    SESSION = "session"
    HOST = "host"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Tag:
    """Grouping by what an owner's tag of this key says; None where there is no such tag."""

    key: str

    @property
    def value(self) -> str:
        """As it is asked for."""
        return f"tag:{self.key}"


Key = Dimension | Tag


class Meter(StrEnum):
    """Which of a record's times is summed."""

    ALLOCATED = "allocated"
    ALLOCATED_MEMORY = "allocated_memory"
    """The same time, MIG instances by their memory slices instead of their compute slices."""
    HELD = "held"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which records count: windows that start in ``span`` (ns since 1970, UTC), as of a log id, of one tenant."""

    span: Interval
    as_of: int
    tenant: str | None = None
    """None: of all of them."""


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """``edges_ns``: where each window of the answer starts, in order, the first at the scope's start; empty: none."""

    scope: Scope
    group_by: tuple[Key, ...]
    meter: Meter = Meter.ALLOCATED
    edges_ns: tuple[int, ...] = ()
    offset: int = 0
    limit: int | None = None
    """In groups; None: all, up to the store's own limit."""


@dataclass(frozen=True, slots=True)
class Group:
    """One group: its keys in the order of ``group_by``, and the start of its window, if there are windows."""

    keys: tuple[str | None, ...]
    window_start_ns: int | None
    ns: int


@dataclass(frozen=True, slots=True)
class UsageSums:
    """A page of groups, and totals over the whole result whatever the page."""

    groups: tuple[Group, ...]
    group_count: int
    by_gpu_model: dict[str, int]
    by_org: dict[str, int]
    total_ns: int


@dataclass(frozen=True, slots=True)
class HostCompleteness:
    """How far one expected host's time is known to be complete; None: it never said."""

    host_id: str
    complete_through_ns: int | None
    why: str = ""
    """What was lost or put aside there, if that is why; empty: the host has told no more so far."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """What is known to be missing from a scope."""

    hosts: tuple[HostCompleteness, ...]
    unobserved_ns: int
    unattributed_ns: int
    quarantined: int
    quarantined_ns: int


@dataclass(frozen=True, slots=True)
class WindowLength:
    """Records of one window length that overlap a span."""

    length_ns: int
    aligned: bool
    """Every such window starts at a multiple of its length."""
    cut_start: bool
    """The span's start lies inside such a window."""
    cut_end: bool


class TooManyGroups(ValueError):
    """More groups than one answer may hold."""
