"""What a segment adds up while it is open, and how it is divided when it closes.

Time is kept per distinct set of sharers and divided once, at the close: A alone
for 30 s, then A and B for 30 s, is 45 and 15, however many ticks it took.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .reading import GapReason
from .share import share_out
from .usage import Sharing
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

PERCENT = 100
NS_PER_MS = 1_000_000


class Quality(StrEnum):
    """How a stretch of held time is known."""

    OBSERVED = "observed"
    INFERRED = "inferred"


@dataclass(slots=True)
class Shared:
    """Time and energy of one set of sharers, not divided yet. ``weights``: what the policy goes by, integrated."""

    ns: int = 0
    energy_mj: int = 0
    weights: dict[Workload, int] = field(default_factory=dict[Workload, int])
    partly_unknown: bool = False


@dataclass(slots=True)
class Account:
    """One workload's own integrals, undivided by their units: a percent-ns is 1/100 ns of busy time."""

    owner: Owner
    evidence: str
    held_ns: int = 0
    busy_percent_ns: int = 0
    busy_known_ns: int = 0
    memory_byte_ns: int = 0
    memory_known: bool = False


SharedKey = tuple[tuple[Workload, ...], Quality]


@dataclass(slots=True)
class Tally:
    """The open sums of one segment of one device."""

    sharing: Sharing = Sharing.EQUAL
    idle_ns: int = 0
    idle_energy_mj: int = 0
    unobserved_ns: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    unobserved_energy_mj: int = 0
    uncertainty_ns: int = 0
    shared: dict[SharedKey, Shared] = field(default_factory=dict[SharedKey, Shared])
    accounts: dict[Workload, Account] = field(default_factory=dict[Workload, Account])
    carried: dict[Workload, tuple[int, int]] = field(default_factory=dict[Workload, tuple[int, int]])
    """What the last segment could not divide: percent-ns and byte-ns by workload."""

    def add_idle(self, length_ns: int, energy_mj: int) -> None:
        self.idle_ns += length_ns
        self.idle_energy_mj += energy_mj

    def add_unobserved(self, length_ns: int, energy_mj: int, reason: GapReason) -> None:
        self.unobserved_ns[reason.value] += length_ns
        self.unobserved_energy_mj += energy_mj

    def shared_by(self, sharers: tuple[Workload, ...], quality: Quality) -> Shared:
        """What this set of sharers has together, to be added to."""
        return self.shared.setdefault((sharers, quality), Shared())

    def book_on(self, workload: Workload) -> Workload:
        """The workload itself, or the overflow once too many have been seen."""
        if workload in self.accounts or len(self.accounts) < MAX_WORKLOADS:
            return workload
        return OVERFLOW

    def account(self, workload: Workload, holder: Holder) -> Account:
        """The account of a workload that ``book_on`` named; its first holder says whose it is."""
        account = self.accounts.get(workload)
        if account is None:
            owner = OVERFLOW_OWNER if workload == OVERFLOW else holder.owner
            busy, memory = self.carried.get(workload, (0, 0))
            account = Account(owner, holder.boundary[:MAX_EVIDENCE], busy_percent_ns=busy, memory_byte_ns=memory)
            self.accounts[workload] = account
        return account


def sharers_of(holders: Sequence[Holder]) -> tuple[Workload, ...]:
    """Who divides the device's time: the host's own processes only where nobody else holds it."""
    tenants = {h.workload for h in holders if h.owner.reason != Unattributed.HOST_PROCESS}
    return tuple(sorted(tenants or {h.workload for h in holders}))


@dataclass(slots=True)
class Share:
    """A workload's part of a segment after the division."""

    allocated_ns: int = 0
    inferred_ns: int = 0
    energy_mj: int = 0


def divide(tally: Tally) -> tuple[dict[Workload, Share], Share]:
    """Each workload's share, and the share of holders that ended unseen. No nanosecond is made or lost."""
    shares: dict[Workload, Share] = {}
    gone = Share()
    for (sharers, quality), shared in tally.shared.items():
        weights = _weights(tally.sharing, sharers, shared)
        energy_parts = share_out(shared.energy_mj, weights)
        for workload, part_ns in share_out(shared.ns, weights).items():
            share = gone if workload.kind == GONE else shares.setdefault(workload, Share())
            share.allocated_ns += part_ns
            share.energy_mj += energy_parts[workload]
            share.inferred_ns += part_ns if quality is Quality.INFERRED else 0
    return shares, gone


def _weights(sharing: Sharing, sharers: tuple[Workload, ...], shared: Shared) -> Mapping[Workload, int]:
    """Equal where the policy says so, and where not everybody's weight is known all the time."""
    known = sharing is not Sharing.EQUAL and not shared.partly_unknown and shared.weights.keys() >= set(sharers)
    return {workload: shared.weights[workload] if known else 1 for workload in sharers}
