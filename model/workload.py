"""Whose it is: processes, workloads and the tenants who answer for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

UNATTRIBUTED = "unattributed"
"""The reserved tenant of time that belongs to nobody we can name."""


class Unattributed(StrEnum):
    """Why a workload has no tenant."""

    NO_RULE = "no_rule"
    UNKNOWN_TENANT = "unknown_tenant"
    HOST_PROCESS = "host_process"
    PID_VANISHED = "pid_vanished"
    GHOST_MEMORY = "ghost_memory"
    MAPPING_PENDING = "mapping_pending"
    OWNER_CHANGED = "owner_changed"
    CGROUP_HIDDEN = "cgroup_hidden"


class Workload(NamedTuple):
    """What ran: a pod, a job, a container, a unit, a user. Never who pays for it.

    ``kind`` is one of the kinds of the configuration reference (kubernetes,
    slurm, docker, ..., cgroup, host) and ``id`` is unique within it.
    """

    kind: str
    id: str

    @property
    def subject_id(self) -> str:
        return f"{self.kind}:{self.id}"

    @property
    def is_host(self) -> bool:
        """The host's own processes share a device only when nothing else holds it."""
        return self.kind == "host"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who answers for a workload, and which rule said so."""

    tenant: str = UNATTRIBUTED
    project: str = ""
    rule: str = ""
    reason: str = ""
    """A value of Unattributed where ``tenant`` is UNATTRIBUTED, else empty."""
    tags: tuple[tuple[str, str], ...] = ()


NOBODY = Owner(reason=Unattributed.NO_RULE.value)


class ProcessId(NamedTuple):
    """A process of this boot. ``start_ns`` is CLOCK_BOOTTIME as procfs gives it: true to 10 ms."""

    pid: int
    start_ns: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a device, with everything that decides who is billed for it."""

    process: ProcessId
    workload: Workload
    owner: Owner
    boundary: str = ""
    """The outermost trusted component of its cgroup path, from the root: the evidence."""
    boundary_inode: int = 0
    edge_uncertainty_ns: int = 10_000_000
    """How far ``process.start_ns`` may be from the truth."""


@dataclass(frozen=True, slots=True)
class Passage:
    """When a process that no list shows any more was there, as far as somebody knows, and whose it is."""

    holder: Holder
    start_ns: int | None
    """CLOCK_BOOTTIME. None: only the driver's evidence is known."""
    end_ns: int | None
    uncertainty_ns: int


@dataclass(frozen=True, slots=True)
class NewRules:
    """Rules that hold from an instant on, and whom they name for each workload that is there then."""

    version: str
    owners: Mapping[Workload, Owner]

    def own_anew(self, holders: Mapping[ProcessId, Holder]) -> dict[ProcessId, Holder]:
        """The same holders with the owners of now; whoever keeps his is the very same."""
        return {process: self.own(holder) for process, holder in holders.items()}

    def own(self, holder: Holder) -> Holder:
        owner = self.owners.get(holder.workload, holder.owner)
        return holder if owner == holder.owner else replace(holder, owner=owner)


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the attributor answers for one host reading."""

    rules_version: str
    holders: dict[int, Holder] = field(default_factory=dict[int, Holder])
    """By pid, one for every pid in the reading's lists."""
    ended: dict[ProcessId, int] = field(default_factory=dict[ProcessId, int])
    """Processes seen to exit since the last reading, with CLOCK_BOOTTIME in ns."""
    passed: dict[int, Passage] = field(default_factory=dict[int, Passage])
    """By pid, one for every pid among the passed processes of the reading."""
    changing: NewRules | None = None
    """What holds from this reading on. Everything before it, and all else in here, is by ``rules_version``."""
