"""A GPU host on a desk: real processes, a fake driver, and cgroups that stand on paper.

Workloads are real processes with real pids, starts and ends; that they hold a
GPU is written into the scenario, and what cgroup they are in is written into a
folder that looks like procfs. So all of it runs without root and without a GPU.
"""

import shutil
import subprocess
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from .scenario import DeviceKey, Scenario, SimProcess, boottime_ns, driver_environment
from .truth import Stay

GIB = 1 << 30
_SLEEP = (sys.executable, "-S", "-E", "-c", "import time; time.sleep(3600)")
_SLEEPERS = ("/bin/sleep", "/usr/bin/sleep")


@dataclass(slots=True)
class Job:
    """A workload that runs: one process on some devices."""

    process: subprocess.Popen[bytes]
    devices: tuple[DeviceKey, ...]
    stays: tuple[Stay, ...]

    @property
    def pid(self) -> int:
        return self.process.pid


@dataclass(slots=True)
class Rig:
    """Owns a folder with the scenario and the paper procfs, and every process it started."""

    folder: Path
    scenario: Scenario
    jobs: list[Job] = field(default_factory=list[Job])
    ended: list[Stay] = field(default_factory=list[Stay])

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, scenario: Scenario) -> "Generator[Rig]":
        """A rig whose processes end with the block."""
        rig = cls(folder, scenario)
        rig._set_up()
        try:
            yield rig
        finally:
            for job in list(rig.jobs):
                rig.end(job)

    @property
    def proc(self) -> Path:
        """What ``attribution.proc`` should name."""
        return self.folder / "proc"

    @property
    def environment(self) -> dict[str, str]:
        """What a daemon needs to find the fake driver."""
        return driver_environment(self.folder / "scenario")

    @property
    def stays(self) -> list[Stay]:
        """The truth so far: what ended, and what still runs, as if it ended now."""
        now_ns = boottime_ns()
        running = (replace(stay, end_ns=now_ns) for job in self.jobs for stay in job.stays)
        return [*self.ended, *running]

    def jobs_older_than(self, age_s: float) -> list[Job]:
        oldest_ns = boottime_ns() - round(age_s * 1e9)
        return [job for job in self.jobs if all(stay.start_ns < oldest_ns for stay in job.stays)]

    def start(
        self,
        tenant: str,
        cgroup: str,
        *devices: DeviceKey,
        memory_bytes: int = 8 * GIB,
        sm_percent: int = 60,
        fields: str | None = None,
    ) -> Job:
        """Starts a process in ``cgroup`` that holds ``devices``; ``tenant`` is whose it truly is."""
        before_ns = boottime_ns()
        process = subprocess.Popen(_sleeper(), stdin=subprocess.DEVNULL)
        self.write_proc(process.pid, fields or f"0::{cgroup}\n")
        held = SimProcess(process.pid, before_ns, memory_bytes=memory_bytes, sm_percent=sm_percent)
        return self.hold(tenant, cgroup, process, held, *devices)

    def hold(
        self, tenant: str, cgroup: str, process: subprocess.Popen[bytes], held: SimProcess, *devices: DeviceKey
    ) -> Job:
        """Says that a process that was started just now, at ``held.start_ns``, holds ``devices``."""
        for device in devices:
            self.scenario = self.scenario.with_process(device, held)
        self.publish()
        began_ns, after_ns = held.start_ns, boottime_ns()
        stays = tuple(
            Stay(tenant, cgroup, self.scenario.device(device).uuid, began_ns, after_ns, after_ns - began_ns)
            for device in devices
        )
        job = Job(process, devices, stays)
        self.jobs.append(job)
        return job

    def end(self, job: Job) -> None:
        """Kills the process; the driver forgets it."""
        before_ns = boottime_ns()
        job.process.kill()
        job.process.wait()
        after_ns = boottime_ns()
        for device in job.devices:
            self.scenario = self.scenario.without_process(device, job.pid)
        self.publish()
        slack_ns = after_ns - before_ns
        self.ended += [replace(s, end_ns=after_ns, slack_ns=s.slack_ns + slack_ns) for s in job.stays]
        self.jobs.remove(job)
        self._remove_proc(job.pid)

    def publish(self, scenario: Scenario | None = None) -> None:
        """Puts the scenario, or another one, before running programs."""
        self.scenario = scenario or self.scenario
        self.scenario.write(self.folder / "scenario")

    def reboot(self) -> None:
        """Another boot, by what procfs says; its clocks and processes go on, which makes it the harder one to tell."""
        told = self.proc / "sys"
        if told.is_symlink():
            told.unlink()
            (told / "kernel" / "random").mkdir(parents=True)
        (told / "kernel" / "random" / "boot_id").write_text(f"{uuid.uuid4()}\n")

    def _set_up(self) -> None:
        self.proc.mkdir(parents=True)
        for name in ("sys", "self", "stat", "uptime"):
            (self.proc / name).symlink_to(f"/proc/{name}")
        self.publish()

    def write_proc(self, pid: int, cgroup_text: str) -> None:
        entry = self.proc / str(pid)
        entry.mkdir()
        for name in ("stat", "status"):
            (entry / name).symlink_to(f"/proc/{pid}/{name}")
        (entry / "cgroup").write_text(cgroup_text)

    def _remove_proc(self, pid: int) -> None:
        shutil.rmtree(self.proc / str(pid), ignore_errors=True)


def _sleeper() -> tuple[str, ...]:
    found = next((path for path in _SLEEPERS if Path(path).exists()), None)
    return (found, "3600") if found else _SLEEP
