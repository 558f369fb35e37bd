"""The processes that hold a device together, and where each one's time is booked.

Who belongs to whom is worked out once, when the set of holders or the segment
changes; each tick then only adds.
"""

from dataclasses import dataclass

from .holding import Sight
from .tally import GONE, Account, Quality, Shared, Tally
from .usage import Sharing
from .workload import Holder, ProcessId, Workload


@dataclass(frozen=True, slots=True)
class Member:
    """A workload with its processes on this device."""

    workload: Workload
    account: Account
    processes: tuple[ProcessId, ...]


@dataclass(frozen=True, slots=True)
class Crew:
    """Holders of a device within one segment. Not empty."""

    tally: Tally
    holders: tuple[Holder, ...]
    members: tuple[Member, ...]
    shared: Shared

    @classmethod
    def on(
        cls,
        tally: Tally,
        holders: tuple[Holder, ...],
        sharers: tuple[Workload, ...],
        quality: Quality,
    ) -> "Crew":
        """Finds each holder's account in the segment, opening it where it is new. ``sharers`` divide the time."""
        accounts: dict[Workload, Account] = {}
        processes: dict[Workload, list[ProcessId]] = {}
        for holder in holders:
            workload = tally.book_on(holder.workload)
            accounts[workload] = tally.account(workload, holder)
            processes.setdefault(workload, []).append(holder.process)
        members = tuple(Member(w, accounts[w], tuple(processes[w])) for w in accounts)
        booked = {workload if workload.kind == GONE else tally.book_on(workload) for workload in sharers}
        return cls(tally, holders, members, tally.shared_by(tuple(sorted(booked)), quality))

    def add(self, length_ns: int, energy_mj: int, sight: Sight) -> None:
        """Time, energy, and what is sampled: each value of ``sight`` holds for all of ``length_ns``."""
        self.add_time(length_ns, energy_mj)
        self._add_memory(length_ns, sight)
        self._add_busy(length_ns, sight)

    def add_time(self, length_ns: int, energy_mj: int) -> None:
        """What needs no sample."""
        self.shared.ns += length_ns
        self.shared.energy_mj += energy_mj
        for member in self.members:
            member.account.held_ns += length_ns

    def _add_memory(self, length_ns: int, sight: Sight) -> None:
        known = sight.memory_bytes
        for member in self.members:
            here = [known[process] for process in member.processes if process in known]
            if here:
                byte_ns = sum(here) * length_ns
                member.account.memory_byte_ns += byte_ns
                member.account.memory_known = True
                self._weigh(Sharing.MEMORY, member, byte_ns)
            else:
                self._weigh(Sharing.MEMORY, member, None)

    def _add_busy(self, length_ns: int, sight: Sight) -> None:
        """The device's busy time, credited by the processes' own samples where there are any, else equally."""
        if sight.utilization_percent is None:
            self.shared.partly_unknown |= self.tally.sharing is Sharing.BUSY
            return
        sampled = [sum(sight.sm_percent.get(process, 0) for process in m.processes) for m in self.members]
        whole = sum(sampled)
        if not whole:
            sampled, whole = [1] * len(self.members), len(self.members)
        percent_ns = sight.utilization_percent * length_ns
        for member, weight in zip(self.members, sampled, strict=True):
            member.account.busy_percent_ns += percent_ns * weight // whole
            member.account.busy_known_ns += length_ns
            self._weigh(Sharing.BUSY, member, percent_ns * weight // whole)

    def _weigh(self, by: Sharing, member: Member, weight: int | None) -> None:
        """What the policy goes by, integrated; unknown for a moment makes it unknown for the set."""
        if by is not self.tally.sharing:
            return
        if weight is None:
            self.shared.partly_unknown = True
        else:
            self.shared.weights[member.workload] = self.shared.weights.get(member.workload, 0) + weight
