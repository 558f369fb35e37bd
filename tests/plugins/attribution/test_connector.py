"""The kernel's own word on processes, through the real netlink connector."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from gputally.model.reading import DeviceReading, HostReading, PassedProcess
from gputally.plugins.attribution import connector as module
from gputally.plugins.attribution.attributor import make_attributor
from gputally.plugins.attribution.connector import ConnectorUnusable, ProcessConnector
from gputally.plugins.attribution.follower import FIRST_LOOK_NS
from gputally.plugins.attribution.kernel import TICK_NS, Change, Happening

from .real import V1, V2, RealGroups

pytestmark = pytest.mark.root
S = 1_000_000_000
WITHIN_S = 20
CLOCK_READ_NS = 1_000_000
"""Two clocks are not read at the same instant."""
IN_ANOTHER_NAMESPACE = """
from gputally.plugins.attribution.connector import *
try:
    ProcessConnector()
except ConnectorUnusable as why:
    print(why)
"""


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@pytest.fixture
def connector() -> Iterator[ProcessConnector]:
    try:
        opened = ProcessConnector()
    except ConnectorUnusable as why:
        pytest.skip(f"no process connector: {why}")
    with closing(opened):
        yield opened


def collect_until(connector: ProcessConnector, done: Callable[[list[Happening]], bool]) -> list[Happening]:
    """Other processes of the machine come and go meanwhile."""
    told: list[Happening] = []
    deadline = time.monotonic() + WITHIN_S
    while not done(told):
        assert time.monotonic() < deadline, told[-20:]
        told += connector.collect()
        time.sleep(0.01)
    return told


def test_a_process_is_told_of_from_birth_to_end_with_the_time_of_each(connector: ProcessConnector) -> None:
    before_ns = boot_ns()
    with subprocess.Popen(["sleep", "0.05"]) as child:
        born_ns = boot_ns()
    after_ns = boot_ns()
    told = collect_until(connector, lambda told: any((h.change, h.pid) == (Change.EXIT, child.pid) for h in told))
    fork, program, end = [each for each in told if each.pid == child.pid]
    assert [fork.change, program.change, end.change] == [Change.FORK, Change.EXEC, Change.EXIT]
    assert before_ns - CLOCK_READ_NS <= fork.at_ns <= born_ns + CLOCK_READ_NS
    assert fork.at_ns < program.at_ns < program.at_ns + S // 20 <= end.at_ns <= after_ns + CLOCK_READ_NS
    assert connector.overruns == 0


def test_threads_do_not_wake_us(connector: ProcessConnector) -> None:
    for _ in range(20):
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
    with subprocess.Popen(["true"]) as child:
        pass
    told = collect_until(connector, lambda told: any(h.pid == child.pid for h in told))
    assert os.getpid() not in {each.pid for each in told}


def test_an_overrun_is_counted_and_said_once(
    connector: ProcessConnector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ROOM_BYTES", 1)  # the kernel makes it 2 KiB or so
    with closing(ProcessConnector()) as small, caplog.at_level(logging.WARNING):
        for _ in range(2):
            for _ in range(20):
                subprocess.run(["true"], check=True)
            small.collect()
        assert small.overruns >= 1
    assert caplog.text.count("lost events") == 1


def test_a_child_that_only_ever_forked_is_told_of_too(connector: ProcessConnector) -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    told = collect_until(connector, lambda told: any((h.change, h.pid) == (Change.EXIT, pid) for h in told))
    assert [each.change for each in told if each.pid == pid] == [Change.FORK, Change.EXIT]


@pytest.mark.parametrize(("namespace", "why"), [("--pid", "pid and user namespace"), ("--net", "kernel or namespace")])
def test_in_another_namespace_it_is_refused_and_not_silent(namespace: str, why: str) -> None:
    told = subprocess.run(
        ["unshare", "--fork", namespace, sys.executable, "-c", IN_ANOTHER_NAMESPACE], capture_output=True, text=True
    )
    if told.returncode:
        pytest.skip(f"no unshare {namespace}: {told.stderr}")
    assert why in told.stdout


def test_where_netlink_is_not_allowed_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(ConnectorUnusable, match="AF_NETLINK"):
        ProcessConnector()


@pytest.mark.parametrize(
    "mount",
    [
        pytest.param(mount, id=name, marks=pytest.mark.skipif(mount is None, reason=f"no cgroup {name} is mounted"))
        for name, mount in (("v1", V1), ("v2", V2))
    ],
)
def test_a_short_job_in_a_real_group_is_its_owners_after_it_is_gone(connector: ProcessConnector, mount: object) -> None:
    """Its group is gone by then as well."""
    rules = [{"match": {"kind": "*"}, "tenant": "{1}"}]
    real = V1 if mount == V1 else V2
    assert real is not None
    attributor = make_attributor("/proc", "/sys/fs/cgroup", rules, process_connector=True)
    with closing(attributor), RealGroups(real) as groups:
        start_ns = boot_ns()
        child = groups.run(f"/docker/{groups.id}", "sleep", "600")
        inode = (real / "docker" / groups.id).stat().st_ino
        used_ns = boot_ns()
        while boot_ns() < used_ns + 2 * FIRST_LOOK_NS:
            attributor.note_happenings()
            time.sleep(0.005)
        attributor.note_happenings()
        groups.end(child, reap=False)
        child.wait()
        end_ns = boot_ns()
        groups.remove(real / "docker" / groups.id)
        device = DeviceReading("nvidia:GPU-0", end_ns, passed=(PassedProcess(child.pid, (used_ns,)),))
        told = attributor.attribute(HostReading(end_ns, 0, S, (device,))).passed[child.pid]
    assert (told.holder.workload.subject_id, told.holder.owner.tenant) == (f"docker:{groups.id}", "docker")
    assert told.holder.boundary_inode == inode
    assert told.start_ns is not None
    assert told.end_ns is not None
    assert start_ns - TICK_NS <= told.start_ns <= used_ns <= told.end_ns <= end_ns
