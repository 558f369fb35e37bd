"""Whose the processes were that ended before anybody asked, and when they were there."""

from collections.abc import Sequence

from ...model.workload import Holder, Passage
from .lives import Life, whose
from .memory import Memory
from .owners import Owners
from .sighting import Sighting
from .unknown import HIDDEN_FOLDER, HIDDEN_OWNER, hold_absent


class Recall:
    """Answers from the memory. Where that does not tell for certain, nobody is named."""

    def __init__(self, memory: Memory, owners: Owners) -> None:
        self._memory = memory
        self._owners = owners

    def find_ended(self, pid: int, at_ns: int) -> tuple[Holder, int] | None:
        """Who had this pid at an instant of our own clock and has ended since, and when."""
        for life in self._memory.lives_of(pid):
            if life.end_ns is not None and life.start_ns <= at_ns < life.end_ns:
                return self._holder(life), life.end_ns
        return None

    def explain(self, pid: int, stamps: Sequence[int], living: Holder | None, interval_ns: int) -> Passage:
        """Which process had this pid at all these stamps of a driver; ``living`` is the one that has it now."""
        ended = self._memory.lives_of(pid)
        if living is not None:
            ended = [life for life in ended if life.process != living.process]
            ended.append(_go_on(living))
        life = whose(ended, stamps)
        if life is None:
            return Passage(hold_absent(pid, None, interval_ns), None, None, interval_ns)
        return Passage(self._holder(life), life.start_ns, life.end_ns, life.uncertainty_ns)

    def _holder(self, life: Life) -> Holder:
        known_as = life.known_as
        return known_as if isinstance(known_as, Holder) else self._judge(life, known_as)

    def _judge(self, life: Life, seen: Sighting) -> Holder:
        process, uncertainty_ns = life.process, life.uncertainty_ns
        if seen.folder is None:
            return Holder(process, HIDDEN_FOLDER.place.workload, HIDDEN_OWNER, edge_uncertainty_ns=uncertainty_ns)
        place = seen.folder.place
        owner = self._owners.peek(place, seen.uid, life.end_ns)
        return Holder(process, place.workload, owner, place.boundary, seen.folder.inode, uncertainty_ns)


def _go_on(living: Holder) -> Life:
    return Life(living.process, living.process.start_ns, None, living.edge_uncertainty_ns, 0, living)
