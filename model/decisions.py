"""What people, and the collector by their rules, decide: each is an entry of the ledger's own stream.

A decision is never changed. One with the same key that comes later in the log takes its place from there on, and what
was in force before stays to be asked for. Names that end with ``from_ns``, ``to_ns`` or ``at_ns`` are instants (ns
since 1970, UTC); a ``to_ns`` of None means until something else is decided. Nothing here is a float.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

OWN_HOST_ID: Final = "gputally:ledger"
"""Stands for the collector where a host's id stands in other streams. Hosts may not have an id that begins so."""
RESERVED_PREFIX: Final = "gputally:"
LATE_PREFIX: Final = "late:"
"""How the ids of adjustments begin that nobody made by hand."""
MOST_OVERLAYS: Final = 500
"""In one decision; a larger correction is several."""


class HostPhase(StrEnum):
    """Where a host is in its life, by the operator's inventory."""

    ENROLLED = "enrolled"
    """Expected from ``from_ns`` on, whether it was seen or not."""
    ACTIVE = "active"
    MAINTENANCE = "maintenance"
    RETIRED = "retired"
    """Not expected from ``from_ns`` on."""


class TenantState(StrEnum):
    ACTIVE = "active"
    CLOSED = "closed"


class ExclusionKind(StrEnum):
    MAINTENANCE = "maintenance"
    FAILED_NODE = "failed_node"
    GOODWILL = "goodwill"
    FREE_CREDIT = "free_credit"


class OverlayKind(StrEnum):
    """What an overlay says of the record it lies on."""

    REASSIGN = "reassign"
    """Its tenant and project are others."""
    VOID = "void"
    """It does not count, until that is lifted."""
    LIFT = "lift"


@dataclass(frozen=True, slots=True)
class HostSet:
    KEY: ClassVar = ("host_id", "phase")
    host_id: str
    phase: HostPhase
    from_ns: int
    to_ns: int | None = None
    """Of maintenance: when it ends."""


@dataclass(frozen=True, slots=True)
class DeviceSwapped:
    """A GPU was taken out, and perhaps another put in. The old one's time ends."""

    KEY: ClassVar = ("host_id", "old_device_id")
    host_id: str
    old_device_id: str
    at_ns: int
    new_device_id: str = ""


@dataclass(frozen=True, slots=True)
class TenantSet:
    KEY: ClassVar = ("tenant",)
    tenant: str
    name: str = ""
    state: TenantState = TenantState.ACTIVE


@dataclass(frozen=True, slots=True)
class RulesSet:
    """The rules by which hosts attribute: what stands under [attribution] in daemon.toml, sent to the hosts."""

    KEY: ClassVar = ()
    version: str
    body: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """On one usage record, whichever revision of it is in force later: a host's revision never removes it.

    The first fields name the record; ``revision`` and ``digest`` are those that whoever decided had seen.
    """

    usage_key: bytes
    host_id: str
    boot_id: str
    device_id: str
    generation: int
    boot_start_ns: int
    workload_kind: str
    workload_id: str
    session_id: str
    window_start_ns: int
    revision: int
    digest: bytes
    kind: OverlayKind
    tenant: str = ""
    project: str = ""


@dataclass(frozen=True, slots=True)
class Corrected:
    KEY: ClassVar = ()
    overlays: tuple[Overlay, ...]


@dataclass(frozen=True, slots=True)
class ExclusionSet:
    """Time in an interval that is not to be charged. An empty name: whatever it is. ``ended``: it holds no more."""

    KEY: ClassVar = ("id",)
    id: str
    kind: ExclusionKind
    from_ns: int
    to_ns: int
    approver: str
    tenant: str = ""
    project: str = ""
    host_id: str = ""
    device_id: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class GapDeclared:
    """Nothing more will come from this host for this interval: periods need not wait for it."""

    KEY: ClassVar = ("host_id", "from_ns")
    host_id: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class CatalogueSet:
    """A version of the price list; ``body`` is its canonical JSON."""

    KEY: ClassVar = ("version",)
    version: str
    effective_from_ns: int
    body: str
    effective_to_ns: int | None = None


@dataclass(frozen=True, slots=True)
class LeaseSet:
    """Devices of a host that a tenant has, whether a daemon runs there or not. ``to_ns`` None: until it is ended."""

    KEY: ClassVar = ("id",)
    id: str
    tenant: str
    host_id: str
    gpu_model: str
    gpus: int
    from_ns: int
    to_ns: int | None = None
    project: str = ""
    device_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReservationSet:
    """So many GPUs of a model that a tenant has a right to, used or not."""

    KEY: ClassVar = ("id",)
    id: str
    tenant: str
    gpu_model: str
    gpus: int
    from_ns: int
    to_ns: int
    project: str = ""


@dataclass(frozen=True, slots=True)
class QuotaSet:
    """So much time in each calendar month, in ns."""

    KEY: ClassVar = ("tenant", "meter")
    tenant: str
    meter: str
    limit_ns: int


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A signed amount booked by a person at an instant, in a period that is not sealed."""

    KEY: ClassVar = ("id",)
    id: str
    at_ns: int
    tenant: str
    gpu_model: str
    ns: int
    project: str = ""
    approver: str = ""


@dataclass(frozen=True, slots=True)
class PeriodClosed:
    """Every expected host has passed it. ``zone``: IANA; ``zone_data``: which version of its rules drew the edges."""

    KEY: ClassVar = ("from_ns", "to_ns")
    from_ns: int
    to_ns: int
    zone: str
    zone_data: str


@dataclass(frozen=True, slots=True)
class PeriodSealed:
    """From here on in the log nothing of the period changes; what arrives for it is an adjustment of a later one.

    ``root`` is that of the Merkle tree over ``leaves`` sorted leaves; ``signature`` is by the key ``key_id``, if any.
    """

    KEY: ClassVar = ("from_ns", "to_ns")
    from_ns: int
    to_ns: int
    as_of: int
    root: bytes
    leaves: int
    key_id: bytes = b""
    signature: bytes = b""


Decision = (
    HostSet
    | DeviceSwapped
    | TenantSet
    | RulesSet
    | Corrected
    | ExclusionSet
    | GapDeclared
    | CatalogueSet
    | LeaseSet
    | ReservationSet
    | QuotaSet
    | Adjusted
    | PeriodClosed
    | PeriodSealed
)
KINDS: Final[tuple[type[Decision], ...]] = (
    HostSet,
    DeviceSwapped,
    TenantSet,
    RulesSet,
    Corrected,
    ExclusionSet,
    GapDeclared,
    CatalogueSet,
    LeaseSet,
    ReservationSet,
    QuotaSet,
    Adjusted,
    PeriodClosed,
    PeriodSealed,
)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with who made it, when by the collector's clock, and why in their words."""

    by: str
    at_ns: int
    why: str
    what: Decision
