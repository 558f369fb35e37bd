"""Those who use a device together, and where each one's time is booked.

Who belongs to whom is worked out once, when the set of holders or the segment
changes; each tick then only adds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .claiming import REST, parts_of
from .tally import GONE, Account, Busy, Quality, Shared, Sharers, Tally, sharers_of
from .usage import ClaimClass, Sharing
from .workload import Holder, ProcessId, Workload

FULL_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Member:
    """A workload with its processes on this device."""

    workload: Workload
    account: Account
    processes: tuple[ProcessId, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """What was sampled of a stretch: it holds for all of it."""

    memory_bytes: Mapping[ProcessId, int]
    sm_percent: Mapping[ProcessId, int]
    utilization_percent: int | None


@dataclass(frozen=True, slots=True)
class Crew:
    """Holders of a device within one segment, and who shares its time: they themselves, or those who claim it."""

    tally: Tally
    holders: tuple[Holder, ...]
    members: tuple[Member, ...]
    sharers: Sharers
    shared: Shared
    busy: Busy
    by_policy: bool

    @classmethod
    def of(cls, tally: Tally, holders: tuple[Holder, ...], sharers: Callable[[], Sharers]) -> "Crew":
        """Opens the holders' accounts where they are new, and only then asks who shares: there is a bound on both."""
        members = tuple(_members(tally, holders))
        shared_by = sharers()
        return cls(
            tally,
            holders,
            members,
            shared_by,
            tally.shared_by(shared_by),
            tally.busy_of(tuple(sorted(member.workload for member in members))),
            tally.sharing is not Sharing.EQUAL and shared_by.claim is ClaimClass.PROCESS,
        )

    def add(self, length_ns: int, energy_mj: int, samples: Samples) -> None:
        """Time, energy, and what was sampled."""
        self.add_time(length_ns, energy_mj)
        self._add_memory(length_ns, samples.memory_bytes)
        self._add_busy(length_ns, samples)

    def add_time(self, length_ns: int, energy_mj: int) -> None:
        """What needs no sample. What a device spent while nobody looked is nobody's."""
        self.shared.ns += length_ns
        if self.sharers.quality is Quality.BLIND:
            self.tally.unobserved_energy_mj += energy_mj
        else:
            self.shared.energy_mj += energy_mj
        for member in self.members:
            member.account.held_ns += length_ns

    def _add_memory(self, length_ns: int, known: Mapping[ProcessId, int]) -> None:
        """Plain loops here and below: this is what a tick is made of."""
        for member in self.members:
            here, found = 0, False
            for process in member.processes:
                used = known.get(process)
                if used is not None:
                    here, found = here + used, True
            if found:
                member.account.memory_byte_ns += here * length_ns
                member.account.memory_known = True
            if self.by_policy:
                self._weigh(Sharing.MEMORY, member, here * length_ns if found else None)

    def _add_busy(self, length_ns: int, samples: Samples) -> None:
        """By the processes' own samples, together at most all of the device; without any, the device's utilization.

        Weights are in percent-ns times the number of members, so that an equal part of a percent is whole.
        """
        members = self.members
        sampled = self._sampled(samples.sm_percent) if samples.sm_percent else []
        whole = sum(sampled)
        percent = min(whole, FULL_PERCENT) if whole else samples.utilization_percent
        if percent is None:
            self.shared.partly_unknown |= self.tally.sharing is Sharing.BUSY
            return
        self.busy.percent_ns += percent * length_ns
        own, by_policy = self.busy.own, self.by_policy
        for place, member in enumerate(members):
            member.account.busy_known_ns += length_ns
            weight = (sampled[place] * len(members) if whole else percent) * length_ns
            own[member.workload] = own.get(member.workload, 0) + weight
            if by_policy:
                self._weigh(Sharing.BUSY, member, weight)

    def _sampled(self, known: Mapping[ProcessId, int]) -> list[int]:
        """What each member's samples say, in percent."""
        found: list[int] = []
        for member in self.members:
            here = 0
            for process in member.processes:
                here += known.get(process, 0)
            found.append(here)
        return found

    def _weigh(self, by: Sharing, member: Member, weight: int | None) -> None:
        """What the policy goes by, integrated; unknown for a moment makes it unknown for the set."""
        if by is not self.tally.sharing:
            return
        if weight is None:
            self.shared.partly_unknown = True
        else:
            self.shared.weights[member.workload] = self.shared.weights.get(member.workload, 0) + weight


def _members(tally: Tally, holders: tuple[Holder, ...]) -> Iterator[Member]:
    accounts: dict[Workload, Account] = {}
    processes: dict[Workload, list[ProcessId]] = {}
    for holder in holders:
        workload = tally.book_on(holder.workload)
        accounts[workload] = tally.account(workload, holder.owner, holder.boundary)
        processes.setdefault(workload, []).append(holder.process)
    for workload, account in accounts.items():
        yield Member(workload, account, tuple(processes[workload]))


def hold(tally: Tally, holders: tuple[Holder, ...]) -> Crew:
    """Who is seen on the device now. Not empty, unless somebody claims it."""
    return Crew.of(tally, holders, lambda: _sharers(tally, sharers_of(holders), Quality.OBSERVED))


def infer(tally: Tally, kept: tuple[Holder, ...], sharers: tuple[Workload, ...], reason: str) -> Crew:
    """Who was there before and after nobody looked; ``sharers`` also has stand-ins for those who were not."""
    return Crew.of(tally, kept, lambda: _sharers(tally, sharers, Quality.INFERRED, reason))


def blind(tally: Tally, reason: str) -> Crew:
    """Nobody looks, and somebody claims the device all the same."""
    return Crew.of(tally, (), lambda: _sharers(tally, (), Quality.BLIND, reason))


def _sharers(tally: Tally, holding: tuple[Workload, ...], quality: Quality, reason: str = "") -> Sharers:
    """Where there are claims, those who merely hold have no share."""
    if not tally.claims:
        return Sharers(_booked(tally, tuple((w, 1) for w in holding), merge=False), quality)
    for claim in tally.claims:
        tally.account(tally.book_on(claim.workload), claim.owner, claim.evidence)
    units = _booked(tally, parts_of(tally.claims), merge=True)
    if quality is Quality.OBSERVED:
        return Sharers(units, quality, tally.claims[0].claim_class)
    return Sharers(units, Quality.BLIND, tally.claims[0].claim_class, reason)


def _booked(tally: Tally, units: tuple[tuple[Workload, int], ...], merge: bool) -> tuple[tuple[Workload, int], ...]:
    """Where each is booked. Those who go into the overflow claim together what they claimed apart."""
    found: dict[Workload, int] = {}
    for workload, count in units:
        booked = workload if workload.kind == GONE or workload == REST else tally.book_on(workload)
        found[booked] = found.get(booked, 0) + count if merge else count
    return tuple(sorted(found.items()))
