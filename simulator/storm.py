"""A storm of short GPU jobs: hundreds of real processes a second in cgroups of several tenants, and the truth of them.

On real cgroups (root) each job moves itself into its tenant's group; on paper,
its group is written into a procfs that the daemon is shown. The scenario of the
fake driver is written anew with all jobs about every 10 ms.
"""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from .nouns import SimProcess
from .scenario import Scenario
from .scenario_text import process_line

PUBLISH_EVERY_S: Final = 0.01
"""What the driver does not know yet when a list is read, it tells of too late: a real one knows at once."""
KEPT_NS: Final = 3_000_000_000
"""How long the driver is told of a job that has ended: its samples can be asked for until then."""
_LAUNCHER: Final = Path(__file__).with_name("storm_launcher.py")
_ENDS_WITHIN_S: Final = 10.0


@dataclass(slots=True)
class StormJob:
    """One short process: what really happened. ``slack_ns``: its start was at most so much later."""

    pid: int
    tenant: str
    device: int
    start_ns: int
    slack_ns: int
    sm_percent: int
    end_ns: int | None = None

    @property
    def life_ns(self) -> int:
        return 0 if self.end_ns is None else self.end_ns - self.start_ns

    @property
    def busy_ns(self) -> int:
        """The truth that a bill is held against."""
        return self.life_ns * self.sm_percent // 100


@dataclass(frozen=True, slots=True)
class StormTenant:
    """Whose jobs sit in which cgroup path; on a hybrid host one that a shape knows, or another hierarchy decides."""

    name: str
    cgroup: str


class Places(Protocol):
    """Where jobs sit."""

    def file_of(self, cgroup: str) -> str:
        """The cgroup.procs that a job moves itself into; - for none."""
        ...

    def note_begun(self, pid: int, cgroup: str) -> None: ...

    def note_ended(self, pid: int) -> None: ...


class RealGroups:
    """Groups in a mounted hierarchy; those it made are removed by remove(). Needs root."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self._made: list[Path] = []

    def file_of(self, cgroup: str) -> str:
        folder = self._mount
        for name in cgroup.strip("/").split("/"):
            folder /= name
            if not folder.is_dir():
                folder.mkdir()
                self._made.append(folder)
        return str(folder / "cgroup.procs")

    def note_begun(self, pid: int, cgroup: str) -> None:
        """The kernel knows."""

    def note_ended(self, pid: int) -> None:
        """The kernel knows."""

    def remove(self) -> None:
        """Once all jobs have ended. A group is busy for a moment longer; one with others' groups in it stays."""
        deadline = time.monotonic() + _ENDS_WITHIN_S
        while self._made and time.monotonic() < deadline:
            try:
                self._made[-1].rmdir()
            except OSError:
                if not any(each.is_dir() for each in self._made[-1].iterdir()):
                    time.sleep(0.01)
                    continue
            self._made.pop()


class PaperGroups:
    """A folder laid out like procfs: real stat and status of each job, and a cgroup of paper. Needs no root."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc

    def file_of(self, cgroup: str) -> str:
        return "-"

    def note_begun(self, pid: int, cgroup: str) -> None:
        entry = self._proc / str(pid)
        entry.mkdir()
        (entry / "cgroup").write_text(f"0::{cgroup}\n")
        for name in ("status", "stat"):  # stat last: whoever sees it sees all
            (entry / name).symlink_to(f"/proc/{pid}/{name}")

    def note_ended(self, pid: int) -> None:
        entry = self._proc / str(pid)
        for name in ("stat", "status", "cgroup"):
            (entry / name).unlink()
        entry.rmdir()


@dataclass(slots=True)
class Storm:
    """Call run(): it starts the jobs, tells the driver of them and returns when the last one has ended."""

    path: Path
    """Of the scenario."""
    scenario: Scenario
    """What is on the devices besides."""
    tenants: Sequence[StormTenant]
    places: Places
    per_s: float = 200.0
    life_s: float = 0.2
    sm_percent: int = 15
    jobs: list[StormJob] = field(default_factory=list[StormJob])
    _living: dict[int, StormJob] = field(default_factory=dict[int, StormJob])
    _kept: deque[tuple[int, str]] = field(default_factory=deque[tuple[int, str]])

    def busy_ns(self) -> dict[str, int]:
        """The truth by tenant, so far."""
        found = {tenant.name: 0 for tenant in self.tenants}
        for job in self.jobs:
            found[job.tenant] += job.busy_ns
        return found

    def run(self, seconds: float) -> None:
        """Takes a little longer than that. Raises RuntimeError where a job did not end as it should."""
        with self._launched(seconds) as said:
            while self._take(said):
                self._publish()
                time.sleep(PUBLISH_EVERY_S)
        self._publish()
        if self._living:
            raise RuntimeError(f"{len(self._living)} jobs did not say that they have ended")

    def clear(self) -> None:
        """The driver forgets all jobs."""
        self._kept.clear()
        self._publish()

    @contextmanager
    def _launched(self, seconds: float) -> Generator[int]:
        """What the launcher and its jobs say, readable without waiting."""
        files = [self.places.file_of(tenant.cgroup) for tenant in self.tenants]
        words = [str(seconds), str(self.per_s), str(self.life_s), *files]
        with subprocess.Popen(
            [sys.executable, "-S", "-E", str(_LAUNCHER), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as launcher:
            assert launcher.stdout is not None
            said = launcher.stdout.fileno()
            os.set_blocking(said, False)
            try:
                yield said
            finally:
                launcher.kill()

    def _take(self, said: int, rest: bytes = b"") -> bool:
        """Everything said until now; False once the launcher and all jobs have ended."""
        while True:
            try:
                part = os.read(said, 65536)
            except BlockingIOError:
                return True
            if not part:
                return False
            # A pipe gives whole writes, but a read may stop in the middle of one.
            *lines, rest = (rest + part).split(b"\n")
            if rest:
                lines.append(rest + self._read_line(said))
                rest = b""
            for line in lines:
                self._note(line.split())

    @staticmethod
    def _read_line(said: int) -> bytes:
        os.set_blocking(said, True)
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(said, 1)
        os.set_blocking(said, False)
        return line[:-1]

    def _note(self, words: list[bytes]) -> None:
        kind, *numbers = words[0], *map(int, words[1:])
        if kind == b"S":
            self._begin(*numbers)
        else:
            self._end(*numbers)

    def _begin(self, pid: int, turn: int, before_ns: int, after_ns: int) -> None:
        tenant = self.tenants[turn]
        device = len(self.jobs) // len(self.tenants) % len(self.scenario.devices)
        job = StormJob(pid, tenant.name, device, before_ns, after_ns - before_ns, self.sm_percent)
        self.jobs.append(job)
        self._living[pid] = job
        self.places.note_begun(pid, tenant.cgroup)

    def _end(self, pid: int, end_ns: int) -> None:
        job = self._living.pop(pid)
        job.end_ns = end_ns
        self._kept.append((end_ns, _line(job)))
        self.places.note_ended(pid)

    def _publish(self) -> None:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        while self._kept and now_ns - self._kept[0][0] > KEPT_NS:
            self._kept.popleft()
        self.scenario.write(self.path, [line for _, line in self._kept] + [_line(job) for job in self._living.values()])


def _line(job: StormJob) -> str:
    return process_line(
        job.device,
        SimProcess(job.pid, job.start_ns, job.end_ns, sm_percent=job.sm_percent, follow=job.end_ns is None),
    )
