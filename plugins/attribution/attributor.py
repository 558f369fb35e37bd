"""Whose each process is: the attributor that asks the kernel for cgroups.

A process is met once, by looking twice; from then on a pidfd vouches for it and
only its cgroup is read again: on every tick while it is young, for schedulers
start a process first and move it into its group afterwards, later every ten
seconds or so. Called from one thread; reads no wall clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ...model.reading import HostReading
from ...model.workload import Attribution, Holder, Owner, ProcessId
from .acquaintance import Acquaintance, Doorman
from .cgroup_file import Seat, find_seat
from .checks import PLUGINS, check_plugins, warn_of_rules
from .folders import CgroupFolders, Folder
from .kernel import TICK_NS, Kernel, ProcessGone, ProcessHidden
from .listing import is_whole, list_pids
from .owners import Owners
from .real_kernel import make_kernel
from .rule_reading import compile_rules
from .rules import RuleSet
from .unknown import HIDDEN_FOLDER, HIDDEN_OWNER, SaidOnce, hold_absent, hold_hidden

YOUNG_NS: Final = 10_000_000_000
LOOK_AGAIN_NS: Final = 10_000_000_000
_STAGGER_NS: Final = 250_000_000
FORGET_AFTER_TICKS: Final = 30
"""A living process that holds nothing for so long is forgotten; met again, it is known by its start."""
MOST_KNOWN: Final = 65_536


@dataclass(slots=True)
class _Known:
    """A process, what we answer for it, and when to look again."""

    who: Acquaintance
    holder: Holder
    met_ns: int
    due_ns: int = 0
    absent_ticks: int = 0
    ended_ns: int | None = None


class CgroupAttributor:
    """Implements the port ``Attributor``. Give back its descriptors with close()."""

    def __init__(self, kernel: Kernel, rules: RuleSet) -> None:
        self.rules_version = rules.version
        self._boot_ns = kernel.boot_ns
        self._folders = CgroupFolders(kernel.groups)
        self._exits = kernel.exits
        self._doorman = Doorman(kernel.processes, kernel.exits)
        self._owners = Owners(rules, self._doorman.read_uid)
        self._known: dict[int, _Known] = {}
        self._ended: dict[ProcessId, int] = {}
        self._hidden = SaidOnce()

    def attribute(self, reading: HostReading) -> Attribution:
        """A holder for every pid in the reading. Never raises for a pid.

        A pid without a living process behind it is held by ``cgroup:?REASON``:
        ghost_memory where it was known and has ended, pid_vanished where it was never seen.
        """
        self.note_exits()
        listed = list_pids(reading)
        holders: dict[int, Holder] = {}
        strangers: list[int] = []
        for pid, at_ns in listed.items():
            known = self._known.get(pid)
            if known is not None and self._is_same(known, at_ns, reading.boot_ns):
                holders[pid] = known.holder
            else:
                strangers.append(pid)
        if strangers:
            self._meet(strangers, holders, reading)
        if is_whole(reading):
            self._forget_absent(listed)
        ended, self._ended = self._ended, {}
        return Attribution(self.rules_version, holders, ended)

    def fileno(self) -> int:
        """Readable when a process that holds a device has ended: call note_exits() then."""
        return self._exits.fileno()

    def note_exits(self) -> None:
        """Stamps the processes that have ended, as exactly as the kernel tells: the real one when it is asked."""
        for pid, at_ns in self._exits.collect():
            if known := self._known.get(pid):
                self._end(known, at_ns)

    def close(self) -> None:
        for known in self._known.values():
            self._doorman.part(known.who)
        self._known.clear()
        self._exits.close()

    def _is_same(self, known: _Known, at_ns: int, now_ns: int) -> bool:
        """Whether the process we know is the one that held the device at ``at_ns``."""
        known.absent_ticks = 0
        if known.ended_ns is None and known.who.watched is None and not self._doorman.is_there(known.who):
            self._end(known, self._boot_ns())
        if known.ended_ns is not None:
            return known.ended_ns > at_ns
        if now_ns >= known.due_ns:
            self._look_again(known, now_ns)
        return True

    def _end(self, known: _Known, at_ns: int) -> None:
        known.ended_ns = at_ns
        self._ended[known.holder.process] = at_ns
        self._owners.leave(known.holder.workload)
        self._doorman.part(known.who)

    def _look_again(self, known: _Known, now_ns: int) -> None:
        is_young = now_ns - known.met_ns < YOUNG_NS
        # A bit sooner for some, so that processes met together do not stay in step.
        stagger_ns = known.who.process.pid % 8 * _STAGGER_NS
        known.due_ns = now_ns if is_young else now_ns + LOOK_AGAIN_NS - stagger_ns
        try:
            if known.who.grip.read_cgroup() != known.who.cgroup:
                self._move(known)
        except (ProcessGone, ProcessHidden):
            return  # its pidfd will tell; until then nothing we know of it has changed

    def _move(self, known: _Known) -> None:
        """Its cgroup text changed: the group was removed, the process is ending, or it moved."""
        identity = self._doorman.identify_again(known.who)
        known.who.cgroup = identity.cgroup
        seat = find_seat(identity.cgroup)
        if seat is None or seat.deleted or (identity.exiting and seat.place.workload.is_host):
            return
        folder = self._folders.inspect(seat)
        owner = known.holder.owner
        if folder.place.workload != known.holder.workload:
            self._owners.leave(known.holder.workload)
            owner = self._owners.join(folder.place, identity.process.pid)
        known.holder = replace(
            known.holder,
            workload=folder.place.workload,
            owner=owner,
            boundary=folder.place.boundary,
            boundary_inode=folder.inode,
        )

    def _meet(self, pids: list[int], holders: dict[int, Holder], reading: HostReading) -> None:
        """Earliest start first: the first process of a workload decides for all of it."""
        met: list[Acquaintance] = []
        for pid in pids:
            try:
                met.append(self._meet_one(pid))
            except ProcessGone:
                ended_ns = self._known[pid].ended_ns if pid in self._known else None
                holders[pid] = hold_absent(pid, ended_ns, reading.interval_ns)
            except ProcessHidden as error:
                self._hidden.say(str(error))
                holders[pid] = hold_hidden(pid, reading.interval_ns)
        for who in sorted(met, key=lambda who: who.process.start_ns):
            holders[who.process.pid] = self._admit(who, reading)

    def _meet_one(self, pid: int) -> Acquaintance:
        who = self._doorman.meet(pid)
        before = self._known.get(pid)
        seat = find_seat(who.cgroup)
        is_leaving = who.exiting and seat is not None and seat.place.workload.is_host
        # The zombie of one we know to have ended, or one that has already lost its groups.
        if (before is not None and before.holder.process == who.process) or is_leaving:
            self._doorman.part(who)
            raise ProcessGone(f"pid {pid} has ended")
        return who

    def _admit(self, who: Acquaintance, reading: HostReading) -> Holder:
        seat = find_seat(who.cgroup)
        folder, owner = self._judge(who, seat)
        uncertainty_ns = TICK_NS if who.watched is not None else TICK_NS + reading.interval_ns
        place = folder.place
        holder = Holder(who.process, place.workload, owner, place.boundary, folder.inode, uncertainty_ns)
        known = _Known(who, holder, reading.boot_ns)
        if len(self._known) < MOST_KNOWN or who.process.pid in self._known:
            self._known[who.process.pid] = known
        else:
            self._owners.leave(place.workload)
            self._doorman.part(who)
        return holder

    def _judge(self, who: Acquaintance, seat: Seat | None) -> tuple[Folder, Owner]:
        if seat is None:
            self._hidden.say("its cgroup lies outside our cgroup namespace")
            return HIDDEN_FOLDER, HIDDEN_OWNER
        folder = self._folders.inspect(seat)
        return folder, self._owners.join(folder.place, who.process.pid)

    def _forget_absent(self, listed: dict[int, int]) -> None:
        for pid in [pid for pid in self._known if pid not in listed]:
            known = self._known[pid]
            known.absent_ticks += 1
            if known.ended_ns is not None or known.absent_ticks > FORGET_AFTER_TICKS:
                self._forget(known)

    def _forget(self, known: _Known) -> None:
        del self._known[known.who.process.pid]
        if known.ended_ns is None:
            self._owners.leave(known.holder.workload)
            self._doorman.part(known.who)


def make_attributor(
    proc: str,
    cgroup: str,
    rules: Sequence[Mapping[str, Any]],
    plugins: Sequence[str] = PLUGINS,
    kernel: Kernel | None = None,
) -> CgroupAttributor:
    """The attributor for the keys of ``[attribution]``. Raises BadRules, before it opens anything.

    Without a ``kernel`` it asks the real one, with procfs at ``proc`` and cgroups
    at ``cgroup``, and raises the soft limit of open files of this process to its
    hard one. Warns of rules that cannot match yet.
    """
    check_plugins(plugins)
    compiled = compile_rules(rules)
    warn_of_rules(compiled)
    return CgroupAttributor(make_kernel(proc, cgroup) if kernel is None else kernel, compiled)
