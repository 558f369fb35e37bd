"""A paper procfs: real pids with real stat and status, cgroups written by the test."""

import os
import subprocess
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gputally.model.reading import DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice
from gputally.model.workload import Attribution, Holder
from gputally.plugins.attribution.attributor import make_attributor

S = 1_000_000_000
DOCKER = f"/system.slice/docker-{'a' * 64}.scope"
USER = "/user.slice/user-1000.slice/session-3.scope"
RULES: list[dict[str, Any]] = [
    {"match": {"kind": "docker"}, "tenant": "acme"},
    {"match": {"kind": "user"}, "tenant": "user-{1}"} | {"match": {"kind": "user", "id": "*"}},
]


class PaperHost:
    """Sleeping processes, where they sit, and an attributor that believes it. Ends them all with the block."""

    def __init__(self, folder: Path, rules: list[dict[str, Any]] = RULES) -> None:
        self.proc, self.cgroup = folder / "proc", folder / "cgroup"
        self.proc.mkdir()
        self.cgroup.mkdir()
        self.attributor = make_attributor(str(self.proc), str(self.cgroup), rules)
        self.children: list[subprocess.Popen[bytes]] = []
        self.tick_s = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with closing(self.attributor):
            for child in self.children:
                child.kill()
                child.wait()

    def start(self, path: str, *, deleted: bool = False) -> int:
        """A new process in this cgroup; its pid."""
        child = subprocess.Popen(["sleep", "600"])
        self.children.append(child)
        folder = self.proc / str(child.pid)
        folder.mkdir()
        for name in ("stat", "status"):
            (folder / name).symlink_to(f"/proc/{child.pid}/{name}")
        self.sit(child.pid, path)
        return child.pid

    def sit(self, pid: int, path: str) -> None:
        (self.proc / str(pid) / "cgroup").write_text(f"0::{path}\n")

    def end(self, pid: int, *, reap: bool = True, noted: bool = True) -> None:
        """Kills it; ``noted``: and the loop that waits for exits has run, as it does in the daemon."""
        child = next(child for child in self.children if child.pid == pid)
        child.kill()
        os.waitid(os.P_PID, pid, os.WEXITED | (0 if reap else os.WNOWAIT))
        if noted:
            self.attributor.note_exits()

    def look(self, *pids: int, at_ns: int | None = None, later_s: int = 1, hung: bool = False) -> Attribution:
        """One tick that lists these pids, ``later_s`` of virtual time after the last."""
        self.tick_s += later_s
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) if at_ns is None else at_ns
        gpus: tuple[DeviceReading | DeviceGap, ...] = (
            DeviceReading("nvidia:GPU-0", now_ns, tuple(map(ProcessOnDevice, pids))),
        )
        if hung:
            gpus = (DeviceGap("nvidia:GPU-0", now_ns, GapReason.NVML_HANG),)
        return self.attributor.attribute(HostReading(self.tick_s * S, 0, S, gpus))

    def holder(self, pid: int) -> Holder:
        return self.look(pid).holders[pid]
