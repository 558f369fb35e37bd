"""What it costs to read a workload's CPU, memory, disk and network: against bare reads of the same files.

Claim: at most 2.5 times the bare open, read and close of the files that are read.
As root with cgroups mounted: real groups and network namespaces. Otherwise
groups on paper, and the host's namespace.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gputally.model.consumption import Where
from gputally.model.workload import ProcessId, Workload
from gputally.plugins.consumption.networks import read_start_ns
from gputally.plugins.consumption.reader import CgroupConsumption

WORKLOADS = 16
ROUNDS = 60
MOST_RATIO = 2.5
ROOT = Path("/sys/fs/cgroup")
V1_FILES = (
    "cpuacct/cpuacct.usage",
    "memory/memory.usage_in_bytes",
    "memory/memory.stat",
    "blkio/blkio.throttle.io_service_bytes_recursive",
)
V2_FILES = ("cpu.stat", "memory.current", "memory.stat", "io.stat")
PAPER = ("usage_usec 5\n", "1000\n", "inactive_file 3\n" + "other 123456\n" * 60, "8:0 rbytes=1 wbytes=2\n")
FLAGS = os.O_RDONLY | os.O_CLOEXEC


def main() -> None:
    with host() as (root, files, note):
        pids = [child.pid for child in CHILDREN]
        places = {Workload("docker", str(number)): place(number, pid) for number, pid in enumerate(pids)}
        reader = CgroupConsumption("/proc", str(root))
        known = reader.read(places)
        group_files = [str(root / where_in(file, number)) for number in range(WORKLOADS) for file in files]
        # The stat of the process is read too: its start must be the one we know.
        process_files = [f"/proc/{pid}/{file}" for pid in pids for file in ("net/dev", "stat")]
        without = {workload: Where(where.boundary) for workload, where in places.items()}
        ours_us, groups_us, bare_us, bare_groups_us = each_us(
            lambda: reader.read(places),
            lambda: reader.read(without),
            lambda: bare(group_files + process_files),
            lambda: bare(group_files),
        )
    unknown = sorted({f"{part} ({why})" for each in known.values() for part, why in each.unknown})
    print(f"{note}, {WORKLOADS} workloads; not known here: {', '.join(unknown) or 'nothing'}")
    print(f"a workload with its network: {ours_us:.0f} µs; bare open, read and close of its files: {bare_us:.0f} µs")
    print(f"a workload without: {groups_us:.0f} µs; bare: {bare_groups_us:.0f} µs")
    ratio = ours_us / bare_us
    print(f"ratio {ratio:.2f}, without network {groups_us / bare_groups_us:.2f}")
    assert ratio < MOST_RATIO, f"more than {MOST_RATIO} times the bare reads"


CHILDREN: list["subprocess.Popen[bytes]"] = []


def place(number: int, pid: int) -> Where:
    return Where(boundary(number), (ProcessId(pid, read_start_ns("/proc", pid) or 0),))


def boundary(number: int) -> str:
    return f"/gputally-bench-{os.getpid()}/docker-{number}.scope"


def where_in(file: str, number: int) -> str:
    hierarchy, _, name = file.rpartition("/")
    return f"{hierarchy}{boundary(number)}/{name}".lstrip("/")


def bare(paths: list[str]) -> None:
    for path in paths:
        file = os.open(path, FLAGS)
        os.read(file, 65_536)
        os.close(file)


def each_us(*calls: Callable[[], object]) -> list[float]:
    """CPU of this process for one workload by call: medians of rounds in turn, for the machine has other work too."""
    taken: list[list[int]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, taken, strict=True):
            start = time.process_time_ns()
            call()
            times.append(time.process_time_ns() - start)
    return [statistics.median(times) / 1000 / WORKLOADS for times in taken]


@contextmanager
def host() -> Iterator[tuple[Path, tuple[str, ...], str]]:
    """(root, files of a group, what it is)."""
    prefix = ["unshare", "-n"] if may_unshare() else []
    made: list[Path] = []
    CHILDREN.extend(subprocess.Popen([*prefix, "sleep", "600"]) for _ in range(WORKLOADS))
    time.sleep(0.5)  # until unshare has become sleep
    folder = Path(tempfile.mkdtemp())
    try:
        yield layout(folder, made)
    finally:
        for child in CHILDREN:
            child.kill()
            child.wait()
        for group in reversed(made):
            group.rmdir()
        shutil.rmtree(folder)


def layout(folder: Path, made: list[Path]) -> tuple[Path, tuple[str, ...], str]:
    for files, name in ((V1_FILES, "real groups, v1"), (V2_FILES, "real groups, v2")):
        with suppress(OSError):
            for number in range(WORKLOADS):
                for mount in dict.fromkeys(ROOT / Path(file).parent for file in files):
                    make(mount / boundary(number)[1:], made)
            if all((ROOT / where_in(file, 0)).exists() for file in files):
                return ROOT, files, name
    (folder / "cgroup.controllers").touch()
    for number in range(WORKLOADS):
        for name, text in zip(V2_FILES, PAPER, strict=True):
            path = folder / where_in(name, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return folder, V2_FILES, "groups on paper"


def make(group: Path, made: list[Path]) -> None:
    for each in (group.parent, group):
        with suppress(FileExistsError):
            each.mkdir()
            made.append(each)


def may_unshare() -> bool:
    with suppress(FileNotFoundError):
        return subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0
    return False


if __name__ == "__main__":
    main()
