"""Following every process of the host from its birth to its end, so that nobody passes by unseen.

Fed by the process connector. A process is looked at when it is a few milliseconds
old, not at once: a launcher starts it first and moves it into its group
afterwards, and most processes of a busy host are gone before that; whoever lives
less cannot have used a GPU, for a context alone takes longer. Each further
program (exec) begins this anew. Two more looks follow those who live on.

A child that is gone before it was looked at is *not* taken for its parent's: the
kernel may have put it elsewhere at birth (CLONE_INTO_CGROUP) or its launcher
just after, and who launches jobs sits in a group of its own. It stays unknown.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from ...model.workload import ProcessId
from .kernel import TICK_NS, Change, Happening, Happenings
from .lives import Life
from .memory import Memory
from .sighting import Looker, Sighting

FIRST_LOOK_NS: Final = 20_000_000
LATER_LOOKS_NS: Final = (1_000_000_000, 10_000_000_000)
"""After the first look: for those who are moved late."""
MOST_FOLLOWED: Final = 65_536
EDGE_UNCERTAINTY_NS: Final = 1_000_000
"""The kernel stamps a birth when the child is made and an end when most of it is gone."""
_LATEST_STAMP_NS: Final = 1_000_000_000
"""A birth that is stamped so long after the start of a process is not its own."""


@dataclass(slots=True)
class Followed:
    """A process that lives, as far as we heard. ``born_ns`` None: it began before we listened."""

    pid: int
    born_ns: int | None
    due_ns: int
    """When it is looked at next; 0: it has ended."""
    process: ProcessId | None = None
    seen: Sighting | None = None


class Follower:
    """Call catch_up() whenever its descriptor is readable, a little later rather than at once, and while has_due().

    ``ended`` counts whose end was told of, ``unseen`` those of them who were not looked at before, ``refused``
    who came when too many were followed.
    """

    def __init__(self, happenings: Happenings, looker: Looker, memory: Memory) -> None:
        self._happenings = happenings
        self._looker = looker
        self._memory = memory
        self._living: dict[int, Followed] = {}
        self._due: tuple[deque[tuple[int, Followed]], ...] = tuple(deque() for _ in range(1 + len(LATER_LOOKS_NS)))
        self._overruns = happenings.overruns
        self.ended = 0
        self.unseen = 0
        self.refused = 0

    @property
    def overruns(self) -> int:
        return self._happenings.overruns

    def fileno(self) -> int:
        return self._happenings.fileno()

    def has_due(self) -> bool:
        """Whether somebody waits for a first look."""
        return bool(self._due[0])

    def catch_up(self, now_ns: int) -> None:
        """Takes up all that has happened and looks at who is old enough."""
        for happening in self._happenings.collect():
            if happening.change is Change.EXIT:
                self._end(happening)
            else:
                self._begin(happening)
        if self._overruns != self._happenings.overruns:
            self._overruns = self._happenings.overruns
            self._doubt_all()
        for rung, due in enumerate(self._due):
            self._look_at_due(due, rung, now_ns)

    def describe(self) -> dict[str, int]:
        return {
            "followed": len(self._living),
            "ended": self.ended,
            "ended_unseen": self.unseen,
            "not_followed": self.refused,
            "overruns": self.overruns,
        }

    def close(self) -> None:
        self._happenings.close()

    def _begin(self, happening: Happening) -> None:
        """A child, or another program in a process that may have been there before we listened."""
        pid, at_ns = happening.pid, happening.at_ns
        followed = self._living.get(pid)
        if followed is None or happening.change is Change.FORK:
            if followed is None and len(self._living) >= MOST_FOLLOWED:
                self.refused += 1
                return
            born_ns = at_ns if happening.change is Change.FORK else None
            if followed is not None:
                followed.due_ns = 0  # its end was not heard of
            followed = self._living[pid] = Followed(pid, born_ns, 0)
        self._look_later(followed, 0, at_ns + FIRST_LOOK_NS)

    def _end(self, happening: Happening) -> None:
        followed = self._living.pop(happening.pid, None)
        if followed is None:
            return
        followed.due_ns = 0
        self.ended += 1
        if followed.process is None or followed.seen is None:
            self.unseen += 1
            return
        start_ns, uncertainty_ns = _start(followed.process, followed.born_ns)
        self._memory.remember(
            Life(followed.process, start_ns, happening.at_ns, uncertainty_ns, EDGE_UNCERTAINTY_NS, followed.seen)
        )

    def _look_later(self, followed: Followed, rung: int, due_ns: int) -> None:
        followed.due_ns = due_ns
        self._due[rung].append((due_ns, followed))

    def _look_at_due(self, due: deque[tuple[int, Followed]], rung: int, now_ns: int) -> None:
        while due and due[0][0] <= now_ns:
            due_ns, followed = due.popleft()
            if followed.due_ns != due_ns:  # it has ended, or something newer is to come
                continue
            self._look(followed)
            if rung < len(LATER_LOOKS_NS):
                self._look_later(followed, rung + 1, now_ns + LATER_LOOKS_NS[rung])

    def _look(self, followed: Followed) -> None:
        if followed.seen is not None and self._looker.still_sits(followed.pid, followed.seen):
            return
        looked = self._looker.look(followed.pid)
        if looked is None:
            return
        process, seen = looked
        if followed.process is None:
            if _is_own(process, followed.born_ns):
                followed.process, followed.seen = process, seen
        elif followed.process == process and seen.folder is not None and not seen.removed:
            followed.seen = seen

    def _doubt_all(self) -> None:
        """Ends and births were lost: only who is there with the same start is still who we think."""
        for followed in list(self._living.values()):
            looked = self._looker.look(followed.pid)
            if followed.process is None or looked is None or looked[0] != followed.process:
                followed.due_ns = 0
                del self._living[followed.pid]


def _is_own(process: ProcessId, born_ns: int | None) -> bool:
    """Whether the process that has the pid is the one whose birth was told, not the next one with that pid."""
    return born_ns is None or process.start_ns <= born_ns < process.start_ns + _LATEST_STAMP_NS


def _start(process: ProcessId, born_ns: int | None) -> tuple[int, int]:
    """When it began and what that may be off by: procfs cuts the start to the tick, the kernel's stamp does not."""
    if born_ns is None:
        return process.start_ns, TICK_NS
    exact_ns = max(process.start_ns, min(born_ns, process.start_ns + TICK_NS) - EDGE_UNCERTAINTY_NS)
    return exact_ns, EDGE_UNCERTAINTY_NS
