"""One owner for each workload at a time, whichever of its processes asks."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ...model.workload import Owner, Workload
from .place import Place
from .rules import RuleSet

_MOST_FORMER = 2
"""Rule sets that still decide for who ended under them: longer than a minute ago nobody is remembered, by default."""


@dataclass(slots=True)
class _Standing:
    """``place`` and ``uid`` are what the owner was decided by."""

    owner: Owner
    place: Place
    uid: int | None
    processes: int = 0


class Owners:
    """Decided by the first process of a workload that joins, kept until the last one leaves.

    Only rules on ``uid`` could tell two processes of a workload apart: whoever
    lets processes join lets the earliest started go first.
    """

    def __init__(self, rules: RuleSet, read_uid: Callable[[int], int | None]) -> None:
        self._rules = rules
        self._read_uid = read_uid
        self._standing: dict[Workload, _Standing] = {}
        self._former: deque[tuple[int, RuleSet]] = deque(maxlen=_MOST_FORMER)

    def join(self, place: Place, pid: int) -> Owner:
        standing = self._standing.get(place.workload)
        if standing is None:
            uid = self._read_uid(pid)
            standing = self._standing[place.workload] = _Standing(self._rules.decide(place, uid), place, uid)
        standing.processes += 1
        return standing.owner

    def peek(self, place: Place, uid: int | None, end_ns: int | None) -> Owner:
        """Whose a process of this workload was that never joined: its uid decides only where nobody else's does.

        By the rules of when it ended (CLOCK_BOOTTIME; None: it is there).
        """
        for until_ns, rules in self._former:
            if end_ns is not None and end_ns < until_ns:
                return rules.decide(place, uid)
        standing = self._standing.get(place.workload)
        return self._rules.decide(place, uid) if standing is None else standing.owner

    def change_rules(self, rules: RuleSet, at_ns: int) -> dict[Workload, Owner]:
        """From ``at_ns`` on these decide, by what was known before; all owners there are then."""
        self._former.append((at_ns, self._rules))
        self._rules = rules
        for standing in self._standing.values():
            standing.owner = rules.decide(standing.place, standing.uid)
        return {workload: standing.owner for workload, standing in self._standing.items()}

    def leave(self, workload: Workload) -> None:
        standing = self._standing.get(workload)
        if standing is None:
            return
        standing.processes -= 1
        if not standing.processes:
            del self._standing[workload]
