"""A paper host: groups, namespaces and disks are files that the test writes; processes are real and have a start."""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from gputally.model.consumption import Consumed, Where
from gputally.model.workload import ProcessId, Workload
from gputally.plugins.consumption.networks import read_start_ns
from gputally.plugins.consumption.reader import CgroupConsumption

DOCKER = Workload("docker", "a")
BOUNDARY = "/system.slice/docker-a.scope"
NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 90 1 0 0 0 0 0 0 90 1 0 0 0 0 0 0
"""  # noqa: E501 - as the kernel writes it
V2_FILES = {
    "cpu.stat": "usage_usec 5000\nuser_usec 4000\nsystem_usec 1000\n",
    "memory.current": "1000\n",
    "memory.stat": "anon 600\nfile 400\ninactive_anon 1\nactive_anon 599\ninactive_file 300\nactive_file 100\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1 wios=1\n",
}
V1_FILES = {
    "cpu,cpuacct/cpuacct.usage": "5000999\n",
    "memory/memory.usage_in_bytes": "1000\n",
    "memory/memory.stat": "inactive_file 1\ntotal_cache 400\ntotal_inactive_file 300\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": (
        "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:0 Async 0\n8:0 Discard 0\n8:0 Total 30\n"
        "8:16 Read 1\n8:16 Write 2\nTotal 33\n"
    ),
}


class PaperHost:
    def __init__(self, folder: Path, *v1: str, v2: str | None = "") -> None:
        """``v1``: hierarchies; ``v2``: where the unified one is in the root, or None."""
        self.proc, self.cgroup, self.sys = folder / "proc", folder / "cgroup", folder / "sys"
        for each in (self.proc, self.cgroup, self.sys):
            each.mkdir()
        for name in v1:
            write(self.cgroup / name / "tasks", "")
        if v2 is not None:
            write(self.cgroup / v2 / "cgroup.controllers", "cpu io memory\n")
        self.children: list[subprocess.Popen[bytes]] = []
        self.namespace("host")
        write(self.proc / "1" / "stat", "")
        self.join(1, "host")
        self.reader = CgroupConsumption(str(self.proc), str(self.cgroup), str(self.sys))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in self.children:
            child.kill()
            child.wait()

    def group(self, files: dict[str, str], boundary: str = BOUNDARY) -> None:
        """``files`` by ``HIERARCHY/FILE`` on v1, ``FILE`` on v2."""
        for name, text in files.items():
            if name.startswith("blkio/"):  # the root's own list
                write(self.cgroup / name, text)
            hierarchy, _, file = name.rpartition("/")
            write(self.cgroup / hierarchy / boundary[1:] / file, text)

    def namespace(self, name: str, *interfaces: str) -> Path:
        """A network namespace; ``interfaces`` as ``eth0:RECEIVED:SENT``."""
        path = self.proc / f"namespace-{name}"
        lines = (each.split(":") for each in interfaces)
        rows = [f"  {eth}: {rx} 1 0 0 0 0 0 0 {tx} 1 0 0 0 0 0 0\n" for eth, rx, tx in lines]
        path.write_text(NET_DEV + "".join(rows))
        return path

    def join(self, pid: int, namespace: str) -> None:
        file = self.proc / str(pid) / "net" / "dev"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        os.link(self.proc / f"namespace-{namespace}", file)

    def start(self, namespace: str) -> ProcessId:
        """A new process in this namespace."""
        child = subprocess.Popen(["sleep", "600"])
        self.children.append(child)
        self.join(child.pid, namespace)
        (self.proc / str(child.pid) / "stat").symlink_to(f"/proc/{child.pid}/stat")
        return ProcessId(child.pid, read_start_ns("/proc", child.pid) or 0)

    def end(self, process: ProcessId) -> None:
        child = next(child for child in self.children if child.pid == process.pid)
        child.kill()
        child.wait()
        (self.proc / str(child.pid) / "net" / "dev").unlink()

    def read(self, *processes: ProcessId, boundary: str = BOUNDARY, workload: Workload = DOCKER) -> Consumed:
        return self.reader.read({workload: Where(boundary, processes)})[workload]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
