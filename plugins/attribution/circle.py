"""The processes we know: met once, vouched for from then on, looked at again while they are young.

A process is met once, by looking twice; from then on a pidfd vouches for it and
only its cgroup is read again: on every tick while it is young, for schedulers
start a process first and move it into its group afterwards, later every ten
seconds or so.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Final

from ...model.holding import EXIT_UNCERTAINTY_NS
from ...model.reading import HostReading
from ...model.workload import Holder, NewRules, Owner, ProcessId
from .acquaintance import Acquaintance, Doorman
from .cgroup_file import Seat, find_seat
from .folders import CgroupFolders, Folder
from .kernel import TICK_NS, Kernel, ProcessGone, ProcessHidden
from .lives import Life
from .memory import Memory
from .owners import Owners
from .rules import RuleSet
from .unknown import HIDDEN_FOLDER, HIDDEN_OWNER, SaidOnce

YOUNG_NS: Final = 10_000_000_000
LOOK_AGAIN_NS: Final = 10_000_000_000
_STAGGER_NS: Final = 250_000_000
FORGET_AFTER_TICKS: Final = 30
"""A living process that holds nothing for so long is forgotten; met again, it is known by its start."""
MOST_KNOWN: Final = 65_536


@dataclass(slots=True)
class Known:
    """A process, what we answer for it, and when to look again."""

    who: Acquaintance
    holder: Holder
    met_ns: int
    due_ns: int = 0
    absent_ticks: int = 0
    ended_ns: int | None = None


class Circle:
    """Who is known, by pid. What we hold of them is given back with close()."""

    def __init__(self, kernel: Kernel, folders: CgroupFolders, rules: RuleSet, memory: Memory) -> None:
        self._boot_ns = kernel.boot_ns
        self._exits = kernel.exits
        self._folders = folders
        self._memory = memory
        self._doorman = Doorman(kernel.processes, kernel.exits)
        self.owners = Owners(rules, self._doorman.read_uid)
        self.ended: dict[ProcessId, int] = {}
        """Who has ended since somebody last took this, and when."""
        self._known: dict[int, Known] = {}
        self.find: Final = self._known.get
        """Whom we know by this pid, alive or ended; None: nobody."""
        self._hidden = SaidOnce()

    def note_exits(self) -> None:
        """Stamps the processes that have ended, as exactly as the kernel tells: the real one when it is asked."""
        for pid, at_ns in self._exits.collect():
            if known := self._known.get(pid):
                self._end(known, at_ns)

    def is_same(self, known: Known, at_ns: int, now_ns: int) -> bool:
        """Whether the process we know is the one that held the device at ``at_ns``."""
        known.absent_ticks = 0
        if known.ended_ns is None and known.who.watched is None and not self._doorman.is_there(known.who):
            self._end(known, self._boot_ns())
        if known.ended_ns is not None:
            return known.ended_ns > at_ns
        if now_ns >= known.due_ns:
            self._look_again(known, now_ns)
        return True

    def meet(self, pid: int) -> Acquaintance:
        """Raises ProcessGone where nobody has this pid any more, and ProcessHidden, which is said once."""
        try:
            who = self._doorman.meet(pid)
        except ProcessHidden as error:
            self._hidden.say(str(error))
            raise
        before = self._known.get(pid)
        seat = find_seat(who.cgroup)
        is_leaving = who.exiting and seat is not None and seat.place.workload.is_host
        # The zombie of one we know to have ended, or one that has already lost its groups.
        if (before is not None and before.holder.process == who.process) or is_leaving:
            self._doorman.part(who)
            raise ProcessGone(f"pid {pid} has ended")
        return who

    def admit(self, who: Acquaintance, reading: HostReading) -> Holder:
        """Knows it from now on. The first process of a workload decides for all of it: let the earliest go first."""
        folder, owner = self._judge(who, find_seat(who.cgroup))
        uncertainty_ns = TICK_NS if who.watched is not None else TICK_NS + reading.interval_ns
        place = folder.place
        holder = Holder(who.process, place.workload, owner, place.boundary, folder.inode, uncertainty_ns)
        if len(self._known) < MOST_KNOWN or who.process.pid in self._known:
            self._known[who.process.pid] = Known(who, holder, reading.boot_ns)
        else:
            self.owners.leave(place.workload)
            self._doorman.part(who)
        return holder

    def forget_absent(self, present: Container[int]) -> None:
        """A tick on which every device said who is there, and these were."""
        for pid in [pid for pid in self._known if pid not in present]:
            known = self._known[pid]
            known.absent_ticks += 1
            if known.ended_ns is not None or known.absent_ticks > FORGET_AFTER_TICKS:
                self._forget(known)

    def change_rules(self, rules: RuleSet, at_ns: int) -> NewRules:
        """From ``at_ns`` on these decide. Whoever has ended keeps the owner he had."""
        told = NewRules(rules.version, self.owners.change_rules(rules, at_ns))
        for known in self._known.values():
            if known.ended_ns is None:
                known.holder = told.own(known.holder)
        return told

    def close(self) -> None:
        for known in self._known.values():
            self._doorman.part(known.who)
        self._known.clear()

    def _end(self, known: Known, at_ns: int) -> None:
        process = known.holder.process
        known.ended_ns = at_ns
        self.ended[process] = at_ns
        late_ns = EXIT_UNCERTAINTY_NS if known.who.watched is not None else known.holder.edge_uncertainty_ns - TICK_NS
        self._memory.remember(Life(process, process.start_ns, at_ns, TICK_NS, late_ns, known.holder))
        self.owners.leave(known.holder.workload)
        self._doorman.part(known.who)

    def _look_again(self, known: Known, now_ns: int) -> None:
        is_young = now_ns - known.met_ns < YOUNG_NS
        # A bit sooner for some, so that processes met together do not stay in step.
        stagger_ns = known.who.process.pid % 8 * _STAGGER_NS
        known.due_ns = now_ns if is_young else now_ns + LOOK_AGAIN_NS - stagger_ns
        try:
            if known.who.grip.read_cgroup() != known.who.cgroup:
                self._move(known)
        except (ProcessGone, ProcessHidden):
            return  # its pidfd will tell; until then nothing we know of it has changed

    def _move(self, known: Known) -> None:
        """Its cgroup text changed: the group was removed, the process is ending, or it moved."""
        identity = self._doorman.identify_again(known.who)
        known.who.cgroup = identity.cgroup
        seat = find_seat(identity.cgroup)
        if seat is None or seat.deleted or (identity.exiting and seat.place.workload.is_host):
            return
        folder = self._folders.inspect(seat)
        owner = known.holder.owner
        if folder.place.workload != known.holder.workload:
            self.owners.leave(known.holder.workload)
            owner = self.owners.join(folder.place, identity.process.pid)
        known.holder = replace(
            known.holder,
            workload=folder.place.workload,
            owner=owner,
            boundary=folder.place.boundary,
            boundary_inode=folder.inode,
        )

    def _judge(self, who: Acquaintance, seat: Seat | None) -> tuple[Folder, Owner]:
        if seat is None:
            self._hidden.say("its cgroup lies outside our cgroup namespace")
            return HIDDEN_FOLDER, HIDDEN_OWNER
        folder = self._folders.inspect(seat)
        return folder, self.owners.join(folder.place, who.process.pid)

    def _forget(self, known: Known) -> None:
        del self._known[known.who.process.pid]
        if known.ended_ns is None:
            self.owners.leave(known.holder.workload)
            self._doorman.part(known.who)
