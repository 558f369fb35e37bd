"""One owner for each workload at a time, whichever of its processes asks."""

from collections.abc import Callable
from dataclasses import dataclass

from ...model.workload import Owner, Workload
from .place import Place
from .rules import RuleSet


@dataclass(slots=True)
class _Standing:
    owner: Owner
    processes: int


class Owners:
    """Decided by the first process of a workload that joins, kept until the last one leaves.

    Only rules on ``uid`` could tell two processes of a workload apart: whoever
    lets processes join lets the earliest started go first.
    """

    def __init__(self, rules: RuleSet, read_uid: Callable[[int], int | None]) -> None:
        self._rules = rules
        self._read_uid = read_uid
        self._standing: dict[Workload, _Standing] = {}

    def join(self, place: Place, pid: int) -> Owner:
        standing = self._standing.get(place.workload)
        if standing is None:
            owner = self._rules.decide(place, self._read_uid(pid))
            standing = self._standing[place.workload] = _Standing(owner, 0)
        standing.processes += 1
        return standing.owner

    def peek(self, place: Place, uid: int | None) -> Owner:
        """Whose a process of this workload was that never joined: its uid decides only where nobody else's does."""
        standing = self._standing.get(place.workload)
        return self._rules.decide(place, uid) if standing is None else standing.owner

    def leave(self, workload: Workload) -> None:
        standing = self._standing.get(workload)
        if standing is None:
            return
        standing.processes -= 1
        if not standing.processes:
            del self._standing[workload]
