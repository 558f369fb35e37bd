"""The processes of a script on a kernel in memory, which outlives the daemon's lives but not a boot."""

from collections.abc import Iterator

from ..memory_kernel import MemoryKernel, MemoryProcess
from .clocks import Clocks
from .script import Process, Script

HAPPENINGS_KEPT = 1_000


class Processes:
    """Starts and ends what the script says, each at its exact time, whenever somebody looks later on."""

    def __init__(self, script: Script) -> None:
        self._clocks = Clocks(script)
        self._room = HAPPENINGS_KEPT if script.connector else 0
        self._edges = sorted(_edges(script), key=lambda edge: edge[:3])
        self._next = 0
        self._at_ns = 0
        self._alive: dict[int, MemoryProcess] = {}
        self._kernel: MemoryKernel | None = None

    def kernel(self) -> MemoryKernel:
        """For one life of the daemon: whom a former one watched, this one does not."""
        self._kernel = MemoryKernel(lambda: self._clocks.boot_ns(self._at_ns), room=self._room)
        self._kernel.processes = self._alive
        return self._kernel

    def next_edge_ns(self) -> int | None:
        """When the next process starts or ends."""
        return self._edges[self._next][0] if self._next < len(self._edges) else None

    def advance(self, true_ns: int) -> None:
        """Everything up to and with this instant has happened."""
        while self._next < len(self._edges) and self._edges[self._next][0] <= true_ns:
            self._at_ns, begins, _, process = self._edges[self._next]
            self._next += 1
            self._turn(process, bool(begins))
        self._at_ns = true_ns

    def leave(self) -> None:
        """The daemon is gone: nobody is told of anything."""
        self._kernel = None

    def _turn(self, process: Process, begins: bool) -> None:
        if self._kernel is None:
            self._turn_unseen(process, begins)
        elif begins:
            self._kernel.start(process.pid, process.job.cgroup)
        else:
            self._kernel.end(process.pid)

    def _turn_unseen(self, process: Process, begins: bool) -> None:
        now_ns = self._clocks.boot_ns(self._at_ns)
        if begins:
            self._alive[process.pid] = MemoryProcess(process.pid, now_ns, process.job.cgroup)
        else:
            alive = self._alive[process.pid]
            alive.end_ns, alive.reaped = now_ns, True


def _edges(script: Script) -> Iterator[tuple[int, int, int, Process]]:
    """(when, whether it begins, pid, process): at the same instant ends come first, so that a pid can be had again."""
    for process in script.processes:
        yield process.start_ns, 1, process.pid, process
        yield process.end_ns, 0, process.pid, process
