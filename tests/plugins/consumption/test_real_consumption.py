"""Real groups, disks and network namespaces, against the kernel's own accounting. Needs root."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gputally.model.consumption import Consumed, Unknown, Where, increment
from gputally.model.workload import ProcessId, Workload
from gputally.plugins.consumption.networks import read_start_ns
from gputally.plugins.consumption.reader import CgroupConsumption

from ..attribution.real import ROOT, V2, RealGroups

pytestmark = pytest.mark.root
V1 = {name: next(ROOT.glob(f"*{name}*/tasks"), None) for name in ("cpuacct", "memory", "blkio")}
needs_v1 = pytest.mark.skipif(None in V1.values(), reason="no cgroup v1 with cpuacct, memory and blkio is mounted")
needs_v2 = pytest.mark.skipif(V2 is None, reason="no cgroup v2 is mounted")
MIB = 1024 * 1024
IN_GROUPS = """
import os, sys
for folder in sys.argv[1].split(":"):
    with open(folder + "/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))
"""
BURN = """
import time
until = time.process_time() + 0.3
while time.process_time() < until:
    pass
print("done", flush=True)
time.sleep(600)
"""
IDLE = "import time\nprint('done', flush=True)\ntime.sleep(600)"
REMEMBER = f"import time\nkept = bytearray(b'x' * {64 * MIB})\nprint('done', flush=True)\ntime.sleep(600)"
WRITE = f"""
import os, time
with open(sys.argv[2], "wb") as file:
    file.write(b"x" * {8 * MIB})
    file.flush()
    os.fsync(file.fileno())
print("done", flush=True)
time.sleep(600)
"""


class Real:
    """One workload in the same group of several hierarchies."""

    def __init__(self, stack: ExitStack, mounts: list[Path], reader: CgroupConsumption) -> None:
        self.groups = [stack.enter_context(RealGroups(mount)) for mount in mounts]
        self.reader = reader
        self.boundary = f"/docker/{self.groups[0].id}"
        self.folders = [groups.make(self.boundary) for groups in self.groups]
        self.workload = Workload("docker", self.groups[0].id)

    def run(self, program: str, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Python in the groups from its first line on; returns when it has said that it is done."""
        folders = ":".join(map(str, self.folders))
        child = subprocess.Popen(
            [*prefix, sys.executable, "-c", IN_GROUPS + program, folders, *arguments], stdout=subprocess.PIPE
        )
        # The last to be entered is the first to be left: it ends the child, and then all folders can go.
        self.groups[-1].children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        return child

    def read(self, *children: subprocess.Popen[bytes]) -> Consumed:
        return self.reader.read({self.workload: Where(self.boundary, tuple(map(process_of, children)))})[self.workload]


def process_of(child: subprocess.Popen[bytes]) -> ProcessId:
    return ProcessId(child.pid, read_start_ns("/proc", child.pid) or 0)


@pytest.fixture
def v1() -> Iterator[Real]:
    with ExitStack() as stack:
        mounts = [tasks.parent for tasks in V1.values() if tasks is not None]
        yield Real(stack, mounts, CgroupConsumption("/proc", str(ROOT)))


@pytest.fixture
def v2() -> Iterator[Real]:
    """The v2 hierarchy alone, as on a host that has no other."""
    assert V2 is not None
    with ExitStack() as stack:
        yield Real(stack, [V2], CgroupConsumption("/proc", str(V2)))


@needs_v1
def test_cpu_on_v1_is_what_the_group_itself_counts(v1: Real) -> None:
    v1.run(BURN)
    usage = V1["cpuacct"].parent / v1.boundary[1:] / "cpuacct.usage"  # type: ignore[union-attr]
    before_us = int(usage.read_text()) // 1000
    found = v1.read()
    assert found.cpu_us is not None
    assert 300_000 <= before_us <= found.cpu_us <= int(usage.read_text()) // 1000


@needs_v2
def test_cpu_on_v2_is_what_the_group_itself_counts(v2: Real) -> None:
    v2.run(BURN)
    stat = v2.folders[0] / "cpu.stat"
    before_us = int(stat.read_text().split()[1])
    found = v2.read()
    assert found.cpu_us is not None
    assert 300_000 <= before_us <= found.cpu_us <= int(stat.read_text().split()[1])
    assert found.group_inode == v2.folders[0].stat().st_ino


@needs_v2
def test_a_hybrid_host_takes_cpu_from_v2_where_v1_has_no_such_group(v2: Real) -> None:
    v2.run(BURN)
    both = CgroupConsumption("/proc", str(ROOT)).read({v2.workload: Where(v2.boundary)})[v2.workload]
    assert both.cpu_us is not None
    assert both.cpu_us >= 300_000


@needs_v1
def test_memory_on_v1_is_the_working_set(v1: Real) -> None:
    v1.run(REMEMBER)
    found = v1.read()
    assert found.memory_bytes is not None
    assert 64 * MIB <= found.memory_bytes < 160 * MIB


@needs_v1
def test_pages_of_files_that_nobody_uses_are_not_in_the_working_set(v1: Real, tmp_path: Path) -> None:
    v1.run(WRITE, str(tmp_path / "file"))
    usage = int((V1["memory"].parent / v1.boundary[1:] / "memory.usage_in_bytes").read_text())  # type: ignore[union-attr]
    found = v1.read()
    assert found.memory_bytes is not None
    assert usage > 8 * MIB
    assert found.memory_bytes < usage


@needs_v1
def test_a_file_that_is_flushed_is_seen_on_the_disk(v1: Real, tmp_path: Path) -> None:
    if not os.major(tmp_path.stat().st_dev):
        pytest.skip(f"{tmp_path} is on no block device")
    before = v1.read()
    v1.run(WRITE, str(tmp_path / "file"))
    listed = (V1["blkio"].parent / "blkio.throttle.io_service_bytes").read_text()  # type: ignore[union-attr]
    if listed == "Total 0\n":  # this kernel counts nothing until somebody sets a limit
        assert dict(v1.read().unknown)["io"] is Unknown.CONTROLLER_OFF
        return
    found = increment(before, v1.read(), 10**18)
    assert found is not None
    assert found.io_write_bytes is not None
    assert 8 * MIB <= found.io_write_bytes < 16 * MIB


@needs_v2
def test_without_its_controller_memory_and_disk_of_v2_are_unknown(v2: Real) -> None:
    """Only where the root does not hand them down to this group, as on a hybrid host."""
    handed = (v2.folders[0] / "cgroup.controllers").read_text().split()
    reasons = dict(v2.read().unknown)
    for part in ("memory", "io"):
        assert (reasons.get(part) is Unknown.CONTROLLER_OFF) == (part not in handed)


@needs_v2
def test_a_group_made_anew_under_its_name_starts_anew(v2: Real) -> None:
    child = v2.run(BURN)
    before = v2.read()
    v2.groups[-1].end(child, reap=True)
    v2.groups[0].remove(v2.folders[0])
    gone = v2.read()
    assert (gone.cpu_us, dict(gone.unknown)["cpu"]) == (None, Unknown.NO_GROUP)
    v2.folders[0].mkdir()
    after = increment(before, v2.read(), 10**18)
    assert after is not None
    assert after.cpu_us is None


NETWORK = """
import ctypes, socket, subprocess, time
run = lambda *words: subprocess.run(words, check=True)
run("ip", "link", "add", "gt0", "type", "veth", "peer", "name", "gt1")
run("ip", "link", "set", "lo", "up")
run("ip", "link", "set", "gt0", "up")
run("ip", "link", "set", "gt1", "up")
# The kernel brings a link up in its own time, and drops what is sent before.
while b"state UP" not in subprocess.check_output(["ip", "link", "show", "gt0"]):
    time.sleep(0.01)
send = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
send.bind(("gt0", 0x88B5))
for _ in range(100):
    send.send(b"\\xff" * 6 + b"\\x02" * 6 + b"\\x88\\xb5" + b"x" * 986)
print("done", flush=True)
time.sleep(600)
"""


def can_make_networks() -> bool:
    words = ["unshare", "-n", "ip", "link", "add", "gt0", "type", "veth", "peer", "name", "gt1"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_networks = pytest.mark.skipif(
    os.geteuid() != 0 or not can_make_networks(), reason="no network namespaces with unshare, ip and veth here"
)


@needs_v2
@needs_networks
def test_bytes_of_a_namespace_of_its_own_are_counted(v2: Real) -> None:
    """100 frames of 1000 bytes from one end of a cable to the other, both in the namespace."""
    child = v2.run(NETWORK, prefix=("unshare", "-n"))
    found = v2.read(child)
    assert "network" not in dict(found.unknown)
    assert found.net_tx_bytes is not None
    assert found.net_rx_bytes is not None
    assert 100_000 <= found.net_tx_bytes < 200_000
    assert 100_000 <= found.net_rx_bytes < 200_000


@needs_v2
@needs_networks
def test_two_workloads_in_one_namespace_have_no_bytes_of_their_own(v2: Real) -> None:
    child = v2.run(NETWORK, prefix=("unshare", "-n"))
    if not os.access(f"/proc/{child.pid}/ns/net", os.R_OK):
        pytest.skip("may not enter another network namespace here, not even as root")
    joined = v2.run(IDLE, prefix=("nsenter", f"--net=/proc/{child.pid}/ns/net"))
    other = Workload("docker", "other")
    places = {
        v2.workload: Where(v2.boundary, (process_of(child),)),
        other: Where("/docker/other", (process_of(joined),)),
    }
    found = v2.reader.read(places)
    for workload in places:
        assert dict(found[workload].unknown)["network"] is Unknown.SHARED_NETWORK


@needs_v2
def test_the_hosts_network_is_told_as_that(v2: Real) -> None:
    child = v2.run(IDLE)
    assert dict(v2.read(child).unknown)["network"] is Unknown.HOST_NETWORK


@needs_v2
@needs_networks
def test_a_user_without_any_capability_sees_the_same(v2: Real) -> None:
    """As the daemon runs: /proc/PID/ns/net is closed to it, net/dev is not."""
    child = v2.run(NETWORK, prefix=("unshare", "-n"))
    process = process_of(child)
    script = (
        "from gputally.plugins.consumption.reader import CgroupConsumption\n"
        "from gputally.model.consumption import Where\n"
        "from gputally.model.workload import ProcessId, Workload\n"
        "import os, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"place = Where({v2.boundary!r}, (ProcessId({process.pid}, {process.start_ns}),))\n"
        f"found = CgroupConsumption('/proc', {str(V2)!r}).read({{Workload('docker', 'x'): place}})\n"
        "for each in found.values(): print(each.cpu_us > 0, each.net_tx_bytes)\n"
    )
    before = v2.read(child).net_tx_bytes
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    after = v2.read(child).net_tx_bytes
    used, sent = told.stdout.split()
    assert used == "True"
    # The kernel sends a packet of its own now and then, to look for neighbours.
    assert before is not None
    assert after is not None
    assert before <= int(sent) <= after


@needs_v2
def test_many_groups_are_read_in_one_call(v2: Real) -> None:
    places = {Workload("docker", str(number)): Where(f"/docker/{v2.groups[0].id}/{number}") for number in range(20)}
    for where in places.values():
        v2.groups[0].make(where.boundary)
    found = v2.reader.read(places)
    assert [each.cpu_us for each in found.values()] == [0] * 20
    assert len({each.group_inode for each in found.values()}) == 20
    assert len({each.at_ns for each in found.values()}) == 1
    assert next(iter(found.values())).at_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
