"""Real processes in real cgroups, read through the real /proc. Needs root; adapts to v1, v2 and hybrid hosts."""

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gputally.model.reading import DeviceReading, HostReading, ProcessOnDevice
from gputally.model.workload import Attribution, Holder
from gputally.plugins.attribution.attributor import CgroupAttributor, make_attributor

from .real import V1, V2, RealGroups

pytestmark = pytest.mark.root
S = 1_000_000_000
RULES = [{"match": {"kind": "*"}, "tenant": "{1}"}]
HIERARCHIES = [
    pytest.param(mount, id=name, marks=pytest.mark.skipif(mount is None, reason=f"no cgroup {name} is mounted"))
    for name, mount in (("v1", V1), ("v2", V2))
]
Shape = Callable[[RealGroups], tuple[str, str, str]]
SHAPES: dict[str, Shape] = {  # kind, id, boundary
    "docker, systemd": lambda g: ("docker", g.id, f"/system.slice/docker-{g.id}.scope"),
    "docker, cgroupfs": lambda g: ("docker", g.id, f"/docker/{g.id}"),
    "kubernetes, systemd": lambda g: (
        "kubernetes", g.id[:32], f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{g.id[:32]}.slice",
    ),
    "kubernetes, cgroupfs": lambda g: ("kubernetes", g.id[:32], f"/kubepods/besteffort/pod{g.id[:32]}"),
    "slurm, v1": lambda g: ("slurm", str(g.number), f"/slurm/uid_1000/job_{g.number}"),
    "slurm, v2": lambda g: ("slurm", str(g.number), f"/system.slice/slurmstepd.scope/job_{g.number}"),
    "user": lambda g: ("user", str(g.number), f"/user.slice/user-{g.number}.slice"),
}  # fmt: skip
LAST_THREAD_ENDS_FIRST = """
import ctypes, platform, sys, threading, time
threading.Thread(target=lambda: (time.sleep(0.2), print("on", flush=True), time.sleep(600))).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""
IN_ANOTHER_NAMESPACE = """
import ctypes, os, pathlib, sys
pathlib.Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
if ctypes.CDLL(None, use_errno=True).unshare(0x02000000):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.executable, [sys.executable, "-m", "gputally.cli", "rules", "test", "--json", "--pid", sys.argv[2]])
"""


@pytest.fixture
def attributor() -> Iterator[CgroupAttributor]:
    with closing(make_attributor("/proc", "/sys/fs/cgroup", RULES)) as attributor:
        yield attributor


@pytest.fixture(params=HIERARCHIES)
def groups(request: pytest.FixtureRequest) -> Iterator[RealGroups]:
    with RealGroups(request.param) as groups:
        yield groups


def look(attributor: CgroupAttributor, pid: int) -> Attribution:
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    device = DeviceReading("nvidia:GPU-0", now_ns, (ProcessOnDevice(pid),))
    return attributor.attribute(HostReading(now_ns, 0, S, (device,)))


def holder(attributor: CgroupAttributor, pid: int) -> Holder:
    return look(attributor, pid).holders[pid]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_real_process_in_a_real_group_is_its_owners(
    groups: RealGroups, attributor: CgroupAttributor, shape: Shape
) -> None:
    kind, id_, boundary = shape(groups)
    child = groups.run(f"{boundary}/inside")
    found = holder(attributor, child.pid)
    assert (found.workload.kind, found.workload.id, found.owner.tenant) == (kind, id_, kind)
    assert found.boundary == boundary
    assert found.boundary_inode == (groups.mount / boundary[1:]).stat().st_ino


def test_a_real_folder_named_like_somebody_elses_container_bills_its_maker(
    groups: RealGroups, attributor: CgroupAttributor
) -> None:
    child = groups.run(f"/user.slice/user-{groups.number}.slice/docker-{'b' * 64}.scope/docker/{'b' * 64}")
    assert holder(attributor, child.pid).workload.subject_id == f"user:{groups.number}"


def test_a_process_that_a_scheduler_moves_is_followed(groups: RealGroups, attributor: CgroupAttributor) -> None:
    child = groups.run(f"/user.slice/user-{groups.number}.slice")
    assert holder(attributor, child.pid).workload.kind == "user"
    (groups.make(f"/docker/{groups.id}") / "cgroup.procs").write_text(str(child.pid))
    assert holder(attributor, child.pid).workload.subject_id == f"docker:{groups.id}"


def test_a_process_that_is_ending_does_not_become_the_hosts(groups: RealGroups, attributor: CgroupAttributor) -> None:
    """On v1 the kernel shows the root for a process on its way out."""
    child = groups.run(f"/docker/{groups.id}")
    listed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    groups.end(child, reap=False)
    device = DeviceReading("nvidia:GPU-0", listed_ns, (ProcessOnDevice(child.pid),))
    found = attributor.attribute(HostReading(listed_ns, 0, S, (device,))).holders[child.pid]
    assert not found.workload.is_host


@pytest.mark.skipif(V2 is None, reason="no cgroup v2 is mounted")
def test_a_zombie_in_a_removed_group_is_still_its_owners(attributor: CgroupAttributor) -> None:
    assert V2 is not None
    with RealGroups(V2) as groups:
        child = groups.run(f"/docker/{groups.id}")
        groups.end(child, reap=False)
        groups.remove(V2 / "docker" / groups.id)
        assert "(deleted)" in Path(f"/proc/{child.pid}/cgroup").read_text()
        assert holder(attributor, child.pid).workload.subject_id == f"docker:{groups.id}"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="knows no number for exit(2) here")
def test_a_process_whose_first_thread_has_ended_is_still_its_owners(
    groups: RealGroups, attributor: CgroupAttributor
) -> None:
    """Otherwise a tenant on v1 could end its first thread and look like the host."""
    child = groups.run(f"/docker/{groups.id}", sys.executable, "-c", LAST_THREAD_ENDS_FIRST)
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    for _ in range(2):
        assert holder(attributor, child.pid).workload.subject_id == f"docker:{groups.id}"


@pytest.mark.skipif(V2 is None, reason="no cgroup v2 is mounted")
def test_from_another_cgroup_namespace_nobody_is_named() -> None:
    assert V2 is not None
    with RealGroups(V2) as groups:
        child = groups.run(f"/docker/{groups.id}")
        mine = groups.make(f"/gputally-test-{groups.number}")
        watcher = groups.run("/", sys.executable, "-c", IN_ANOTHER_NAMESPACE, str(mine), str(child.pid))
        told = json.loads(watcher.communicate(timeout=20)[0])
        assert (told["tenant"], told["reason"]) == ("unattributed", "cgroup_hidden")


def test_nothing_is_left_behind(groups: RealGroups) -> None:
    """The test that watches the tests."""
    child = groups.run(f"/docker/{groups.id}/inside")
    with groups:
        assert child.poll() is None
    assert not (groups.mount / "docker" / groups.id).exists()
