"""Whose each process is: the attributor that asks the kernel for cgroups.

Who is listed and lives is in the circle of those we know; who has ended is in
the memory for a while. Called from one thread; reads no wall clock.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ...model.reading import HostReading
from ...model.workload import Attribution, Holder, NewRules, Passage
from .acquaintance import Acquaintance
from .checks import PLUGINS, check_plugins, warn_of_rules
from .circle import Circle
from .folders import CgroupFolders
from .follower import Follower
from .ghosts import Ghosts
from .kernel import Kernel, ProcessGone, ProcessHidden
from .listing import is_whole, list_passed, list_pids
from .memory import REMEMBERED_S, Memory
from .real_kernel import make_kernel
from .recall import Recall
from .rule_reading import compile_rules
from .rules import RuleSet
from .sighting import Looker
from .unknown import hold_hidden


class CgroupAttributor:
    """Implements the port ``Attributor``. Give back its descriptors with close()."""

    def __init__(self, kernel: Kernel, rules: RuleSet, remember_s: int = REMEMBERED_S) -> None:
        self.rules_version = rules.version
        self._next_rules: RuleSet | None = None
        self._exits = kernel.exits
        self._boot_ns = kernel.boot_ns
        self._memory = Memory(remember_s)
        folders = CgroupFolders(kernel.groups)
        self._circle = Circle(kernel, folders, rules, self._memory)
        self._ghosts = Ghosts()
        self._recall = Recall(self._memory, self._circle.owners)
        self._looker = Looker(kernel, folders, rules)
        self.follower: Follower | None = None
        """Where the kernel tells what happens to all processes; note_happenings() feeds it."""
        if kernel.happenings is not None:
            self.follower = Follower(kernel.happenings, self._looker, self._memory)

    def attribute(self, reading: HostReading) -> Attribution:
        """A holder for every pid in the reading, a passage for every one that passed by. Never raises for a pid.

        A pid without a living process behind it is held by ``cgroup:?REASON``:
        ghost_memory where it was known and has ended, pid_vanished where it was never seen.
        """
        self.note_exits()
        self.note_happenings()
        self._memory.forget_old(reading.boot_ns)
        listed = list_pids(reading)
        ghosts = self._ghosts.still(reading) if self._ghosts else ()
        holders: dict[int, Holder] = {}
        strangers: dict[int, int] = {}
        find, is_same = self._circle.find, self._circle.is_same
        for pid, at_ns in listed.items():
            known = find(pid)
            if known is not None and is_same(known, at_ns, reading.boot_ns):
                holders[pid] = known.holder
            elif pid in ghosts:
                holders[pid] = self._ghosts.hold(pid, reading.interval_ns)
            else:
                strangers[pid] = at_ns
        if strangers:
            self._meet(strangers, holders, reading)
        passed = {pid: self._explain(pid, stamps, reading) for pid, stamps in list_passed(reading).items()}
        if is_whole(reading):
            self._circle.forget_absent(listed)
            self._ghosts.keep(listed)
        ended, self._circle.ended = self._circle.ended, {}
        return Attribution(self.rules_version, holders, ended, passed, self._change_rules(reading.boot_ns))

    def take_rules(self, rules: RuleSet) -> None:
        """They decide from the next reading on; up to it the present ones do. Of several the last counts."""
        self._next_rules = rules

    def _change_rules(self, at_ns: int) -> NewRules | None:
        rules, self._next_rules = self._next_rules, None
        if rules is None or rules.version == self.rules_version:
            return None
        self.rules_version = rules.version
        self._looker.change_rules(rules)
        return self._circle.change_rules(rules, at_ns)

    def fileno(self) -> int:
        """Readable when a process that holds a device has ended: call note_exits() then."""
        return self._exits.fileno()

    def note_exits(self) -> None:
        """Stamps the processes that have ended, as exactly as the kernel tells: the real one when it is asked."""
        self._circle.note_exits()

    def note_happenings(self) -> None:
        """Takes up which processes have begun and ended since the last call; nothing where nobody tells."""
        if self.follower is not None:
            self.follower.catch_up(self._boot_ns())

    def describe(self) -> dict[str, int]:
        """Counts for ``gputally status``; those of following only where the kernel tells of processes."""
        counts = {"remembered": len(self._memory), "forgotten_early": self._memory.dropped}
        return counts if self.follower is None else counts | self.follower.describe()

    def close(self) -> None:
        if self.follower is not None:
            self.follower.close()
        self._circle.close()
        self._exits.close()

    def _meet(self, strangers: Mapping[int, int], holders: dict[int, Holder], reading: HostReading) -> None:
        """Earliest start first: the first process of a workload decides for all of it."""
        met: list[Acquaintance] = []
        for pid, at_ns in strangers.items():
            try:
                met.append(self._circle.meet(pid))
            except ProcessGone:
                holders[pid] = self._hold_gone(pid, at_ns, reading.interval_ns)
            except ProcessHidden:
                holders[pid] = hold_hidden(pid, reading.interval_ns)
        for who in sorted(met, key=lambda who: who.process.start_ns):
            holders[who.process.pid] = self._circle.admit(who, reading)
            self._ghosts.leave(who.process.pid)

    def _hold_gone(self, pid: int, at_ns: int, interval_ns: int) -> Holder:
        """Listed at ``at_ns``, and not there any more."""
        recalled = self._recall.find_ended(pid, at_ns)
        if recalled is not None:
            holder, self._circle.ended[holder.process] = recalled
            return holder
        known = self._circle.find(pid)
        return self._ghosts.note(pid, known.ended_ns if known else None, interval_ns)

    def _explain(self, pid: int, stamps: Sequence[int], reading: HostReading) -> Passage:
        try:
            living = self._find_living(pid, reading)
        except ProcessHidden:
            return Passage(hold_hidden(pid, reading.interval_ns), None, None, reading.interval_ns)
        return self._recall.explain(pid, stamps, living, reading.interval_ns)

    def _find_living(self, pid: int, reading: HostReading) -> Holder | None:
        """Who has this pid now. Raises ProcessHidden."""
        known = self._circle.find(pid)
        if known is not None and self._circle.is_same(known, reading.boot_ns, reading.boot_ns):
            return known.holder if known.ended_ns is None else None
        try:
            return self._circle.admit(self._circle.meet(pid), reading)
        except ProcessGone:
            return None


def make_attributor(
    proc: str,
    cgroup: str,
    rules: Sequence[Mapping[str, Any]] | RuleSet,
    plugins: Sequence[str] = PLUGINS,
    kernel: Kernel | None = None,
    process_connector: bool = False,
    remember_s: int = REMEMBERED_S,
) -> CgroupAttributor:
    """The attributor for the keys of ``[attribution]``. Raises BadRules, before it opens anything.

    Without a ``kernel`` it asks the real one, with procfs at ``proc`` and cgroups
    at ``cgroup``, and raises the soft limit of open files of this process to its
    hard one; with the process connector it raises ConnectorUnusable where there
    is none to be had. Warns of rules that cannot match yet.
    """
    check_plugins(plugins)
    compiled = rules if isinstance(rules, RuleSet) else compile_rules(rules)
    warn_of_rules(compiled)
    known = kernel or make_kernel(proc, cgroup, process_connector=process_connector)
    return CgroupAttributor(known, compiled, remember_s)
