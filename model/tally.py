"""What a segment adds up while it is open, in whole nanoseconds, and nothing divided yet.

Time is kept per distinct set of sharers and divided once, at the close (division.py): A alone
for 30 s, then A and B for 30 s, is 45 and 15, however many ticks it took.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from .claims import Claim
from .holding import Edge
from .reading import GapReason
from .usage import ClaimClass, Sharing
from .workload import Holder, Owner, Unattributed, Workload

CROWDED = 30
"""Distinct workloads in a segment from which on the next one is begun."""
MAX_WORKLOADS = 60
"""Distinct workloads in one segment of a device at most; what comes beyond is booked together, unattributed.

With MAX_EVIDENCE it keeps any segment within one frame.
"""
MAX_EVIDENCE = 256
"""Characters of a boundary's path that a record keeps."""
OVERFLOW = Workload("cgroup", "__other__")
OVERFLOW_OWNER = Owner(reason=Unattributed.UNKNOWN_TENANT.value)

GONE = "gone"
"""Kind of a stand-in for a holder that ended unseen: its share is nobody's and stays unobserved."""


class Quality(StrEnum):
    """How a stretch of shared time is known."""

    OBSERVED = "observed"
    INFERRED = "inferred"
    BLIND = "blind"
    """Claimed, while nobody could look."""


class Sharers(NamedTuple):
    """Who divides a stretch of time. ``units`` are 1 each for those who merely hold the device."""

    units: tuple[tuple[Workload, int], ...]
    quality: Quality = Quality.OBSERVED
    claim: ClaimClass = ClaimClass.PROCESS
    reason: str = ""
    """A GapReason while BLIND: of the units that nobody claims."""


@dataclass(slots=True)
class Shared:
    """Time and energy of one set of sharers, not divided yet. ``weights``: what the policy goes by, integrated."""

    ns: int = 0
    energy_mj: int = 0
    weights: dict[Workload, int] = field(default_factory=dict[Workload, int])
    partly_unknown: bool = False


@dataclass(slots=True)
class Busy:
    """Busy time of those who held the device together, in percent-ns; ``own``: what each one's samples say of it."""

    percent_ns: int = 0
    own: dict[Workload, int] = field(default_factory=dict[Workload, int])


@dataclass(slots=True)
class Account:
    """One workload's own integrals, undivided by their units."""

    owner: Owner
    evidence: str
    held_ns: int = 0
    busy_known_ns: int = 0
    memory_byte_ns: int = 0
    memory_known: bool = False
    edges: str = ""


@lru_cache(maxsize=1024)
def with_edges(known: str, edges: tuple[Edge, ...]) -> str:
    """The words of both, each once, sorted."""
    return ",".join(sorted({*filter(None, known.split(",")), *edges}))


@dataclass(slots=True)
class Tally:
    """The open sums of one segment of one device. ``claims``: the strongest ones, in force for all of it."""

    sharing: Sharing = Sharing.EQUAL
    claims: tuple[Claim, ...] = ()
    idle_ns: int = 0
    idle_energy_mj: int = 0
    unobserved_ns: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    unobserved_energy_mj: int = 0
    uncertainty_ns: int = 0
    stranded_compute_ns: int = 0
    stranded_memory_ns: int = 0
    shared: dict[Sharers, Shared] = field(default_factory=dict[Sharers, Shared])
    busy: dict[tuple[Workload, ...], Busy] = field(default_factory=dict[tuple[Workload, ...], Busy])
    accounts: dict[Workload, Account] = field(default_factory=dict[Workload, Account])
    carried: dict[Workload, tuple[int, int]] = field(default_factory=dict[Workload, tuple[int, int]])
    """What the last segment could not divide: percent-ns and byte-ns by workload."""

    def add_idle(self, length_ns: int, energy_mj: int) -> None:
        self.idle_ns += length_ns
        self.idle_energy_mj += energy_mj

    def add_unobserved(self, length_ns: int, energy_mj: int, reason: GapReason) -> None:
        self.unobserved_ns[reason.value] += length_ns
        self.unobserved_energy_mj += energy_mj

    def shared_by(self, sharers: Sharers) -> Shared:
        """What this set of sharers has together, to be added to."""
        return self.shared.setdefault(sharers, Shared())

    def busy_of(self, workloads: tuple[Workload, ...]) -> Busy:
        """The busy time of those who hold the device together, to be added to."""
        return self.busy.setdefault(workloads, Busy())

    def book_on(self, workload: Workload) -> Workload:
        """The workload itself, or the overflow once too many have been seen."""
        if workload in self.accounts or len(self.accounts) < MAX_WORKLOADS:
            return workload
        return OVERFLOW

    def account(self, workload: Workload, owner: Owner, evidence: str) -> Account:
        """The account of a workload that ``book_on`` named; who opens it says whose it is."""
        account = self.accounts.get(workload)
        if account is None:
            memory_byte_ns = self.carried.get(workload, (0, 0))[1]
            whose = OVERFLOW_OWNER if workload == OVERFLOW else owner
            account = Account(whose, evidence[:MAX_EVIDENCE], memory_byte_ns=memory_byte_ns)
            self.accounts[workload] = account
        return account

    def note_edges(self, holders: Iterable[Holder], edges: Mapping[Workload, tuple[Edge, ...]]) -> None:
        """How the edges of these are known."""
        for workload in {holder.workload for holder in holders}:
            account = self.accounts.get(self.book_on(workload)) if workload in edges else None
            if account is not None:
                account.edges = with_edges(account.edges, edges[workload])


HOST_SERVICES = (
    "nvidia-mps",
    "nvidia-persistenced",
    "nvidia-dcgm",
    "dcgm",
    "display-manager",
    "gdm",
    "lightdm",
    "sddm",
    "xorg",
    "x11",
)
"""How the names of units begin that serve the host's GPUs: an MPS server, monitoring, a display server."""


def is_hosts_own(holder: Holder) -> bool:
    """A process of the host itself, or of such a service, that no rule gives to anybody."""
    if holder.owner.reason == Unattributed.NO_RULE and holder.workload.kind == "service":
        return holder.workload.id.rpartition("/")[2].startswith(HOST_SERVICES)
    return holder.owner.reason == Unattributed.HOST_PROCESS


def sharers_of(holders: Sequence[Holder]) -> tuple[Workload, ...]:
    """Who divides the device's time: the host's own processes only where nobody else holds it."""
    tenants = {h.workload for h in holders if not is_hosts_own(h)}
    return tuple(sorted(tenants or {h.workload for h in holders}))
