"""A clock that only the test turns, a kernel in memory on it, and an attributor that believes both."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Self

from gputally.model.reading import Accounted, DeviceReading, HostReading, PassedProcess, ProcessOnDevice
from gputally.model.workload import Attribution, Passage
from gputally.plugins.attribution.attributor import CgroupAttributor, make_attributor
from gputally.simulator.memory_kernel import MemoryKernel

from .paper import RULES, S

MS = 1_000_000
GPU = "nvidia:GPU-0"
FOLLOW_EVERY_NS = 50 * MS


class VirtualHost:
    def __init__(self, rules: list[dict[str, Any]], room: int) -> None:
        self.now_ns = 1000 * S
        self.kernel = MemoryKernel(lambda: self.now_ns, room=room)
        self.attributor: CgroupAttributor = make_attributor("/proc", "/", rules, kernel=self.kernel.as_kernel())

    @classmethod
    @contextmanager
    def opened(cls, rules: list[dict[str, Any]] = RULES, *, room: int = 0) -> Iterator[Self]:
        """``room``: the kernel tells of all processes, so many things at most until they are collected."""
        host = cls(rules, room)
        with closing(host.attributor):
            yield host

    def wait(self, length_ns: int) -> int:
        """The time it is then."""
        self.now_ns += length_ns
        return self.now_ns

    def follow(self, length_ns: int) -> int:
        """The same, with the daemon waking up now and then to take up what happens."""
        end_ns = self.now_ns + length_ns
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, self.now_ns + FOLLOW_EVERY_NS)
            self.attributor.note_happenings()
        return self.now_ns

    def look(self, *pids: int, at_ns: int | None = None, passed: tuple[PassedProcess, ...] = ()) -> Attribution:
        """One tick that lists these pids, at an instant that may be past."""
        seen_ns = self.now_ns if at_ns is None else at_ns
        device = DeviceReading(GPU, seen_ns, tuple(map(ProcessOnDevice, pids)), passed=passed)
        return self.attributor.attribute(HostReading(self.now_ns, 0, S, (device,)))

    def look_at(self, *rows: ProcessOnDevice) -> Attribution:
        """One tick with these rows in the list."""
        device = DeviceReading(GPU, self.now_ns, rows)
        return self.attributor.attribute(HostReading(self.now_ns, 0, S, (device,)))

    def passage(self, pid: int, *stamps: int, accounted: Accounted | None = None) -> Passage:
        """What is told of a process that the driver says was there at these instants."""
        return self.look(passed=(PassedProcess(pid, stamps, 50, accounted),)).passed[pid]

    def live(self, pid: int, cgroup: str, length_ns: int) -> tuple[int, int]:
        """A process that begins now and ends after so long; when it did both."""
        start_ns = self.now_ns
        self.kernel.start(pid, cgroup)
        self.wait(length_ns)
        self.kernel.end(pid)
        return start_ns, self.now_ns
