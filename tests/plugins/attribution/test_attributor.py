"""The attributor on real processes in paper cgroups: who is who, for how long, and when they end."""

import os
import resource
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gputally.model.workload import Workload
from gputally.plugins.attribution import circle as module
from gputally.plugins.attribution import real_kernel
from gputally.plugins.attribution.descriptors import Descriptors, raise_descriptor_limit
from gputally.plugins.attribution.kernel import TICK_NS

from .paper import DOCKER, RULES, USER, PaperHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PaperHost]:
    with PaperHost(tmp_path) as host:
        yield host


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts, and wants no Path for each


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_a_process_is_its_workloads_and_its_tenants(host: PaperHost) -> None:
    before_ns = now_ns()
    pid = host.start(DOCKER + "/inside")
    holder = host.holder(pid)
    assert holder.workload == Workload("docker", "a" * 64)
    assert (holder.owner.tenant, holder.boundary) == ("acme", DOCKER)
    assert (holder.process.pid, holder.edge_uncertainty_ns) == (pid, TICK_NS)
    assert before_ns - TICK_NS <= holder.process.start_ns <= now_ns()


def test_every_pid_of_the_reading_has_a_holder_whatever_it_is(host: PaperHost) -> None:
    alive, broken = host.start(USER), host.start(USER)
    (host.proc / str(broken) / "cgroup").unlink()
    (host.proc / str(broken) / "cgroup").mkdir()
    pids = (alive, broken, 2**22 + 7, 2**32 - 1, 0, -1)
    assert host.look(*pids).holders.keys() == set(pids)


def test_a_process_of_another_namespace_is_not_guessed_at(host: PaperHost) -> None:
    pid = host.start("/../" + DOCKER)
    holder = host.holder(pid)
    assert (holder.workload.id, holder.owner.reason) == ("?cgroup_hidden", "cgroup_hidden")


def test_no_rule_not_even_one_for_everything_bills_what_we_cannot_see(tmp_path: Path) -> None:
    with PaperHost(tmp_path, [{"match": {}, "tenant": "house"}]) as host:
        assert host.holder(host.start("/../x")).owner.tenant == "unattributed"
        assert host.holder(host.start("/x")).owner.tenant == "house"


def test_a_process_that_procfs_hides_is_there_and_hidden(host: PaperHost, caplog: pytest.LogCaptureFixture) -> None:
    pid = host.start(USER)
    (host.proc / str(pid)).rename(host.proc / "elsewhere")
    assert host.holder(pid).owner.reason == "cgroup_hidden"
    assert "hidepid" in caplog.text
    (host.proc / "elsewhere").rename(host.proc / str(pid))
    assert host.holder(pid).owner.tenant == "user-1000"


def test_a_process_that_is_moved_into_its_group_after_it_started_is_found_there(host: PaperHost) -> None:
    pid = host.start("/system.slice/containerd.service")
    for _ in range(5):
        assert host.holder(pid).workload.kind == "service"
    host.sit(pid, DOCKER)
    holder = host.holder(pid)
    assert (holder.workload.kind, holder.owner.tenant, holder.boundary) == ("docker", "acme", DOCKER)


def test_an_old_process_is_looked_at_again_within_ten_seconds(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    for _ in range(15):
        host.look(pid)
    host.sit(pid, USER)
    moved_after_s = next(s for s in range(1, 20) if host.holder(pid).workload.kind == "user")
    assert 1 < moved_after_s <= 10


def test_a_process_that_outlives_its_group_keeps_its_owner(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    before = host.holder(pid)
    host.sit(pid, "/ (deleted)")
    assert host.holder(pid) == before
    host.sit(pid, USER + " (deleted)")
    assert host.holder(pid) == before


def test_an_ending_process_that_v1_shows_in_the_root_keeps_its_owner(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    before = host.holder(pid)
    host.sit(pid, "/")
    stat = host.proc / str(pid) / "stat"
    name, told = stat.read_text().rsplit(")", 1)
    fields = told.split(" ")
    stat.unlink()
    stat.write_text(" ".join([f"{name})", "R", *fields[2:7], str(int(fields[7]) | 0x4), *fields[8:]]))
    assert host.holder(pid) == before
    assert host.look(pid, later_s=60).holders[pid] == before


def test_a_living_process_that_root_moves_to_the_root_is_the_hosts(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    host.holder(pid)
    host.sit(pid, "/")
    assert host.holder(pid).workload.is_host


def test_a_process_met_after_its_group_was_removed_is_still_its_owners(host: PaperHost) -> None:
    assert host.holder(host.start(DOCKER + " (deleted)")).owner.tenant == "acme"


def test_an_exit_is_noticed_to_the_millisecond_without_a_tick(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    process = host.holder(pid).process
    watch = select.epoll()
    watch.register(host.attributor.fileno(), select.EPOLLIN)
    assert not watch.poll(0)
    before_ns = now_ns()
    host.end(pid, noted=False)
    assert watch.poll(5)
    host.attributor.note_exits()
    after_ns = now_ns()
    assert not watch.poll(0)
    watch.close()
    ended = host.look().ended
    assert before_ns <= ended[process] <= after_ns
    assert host.look().ended == {}


def test_a_process_that_ended_after_it_was_listed_is_still_the_holder(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    before = host.holder(pid)
    listed_ns = now_ns()
    host.end(pid)
    told = host.look(pid, at_ns=listed_ns)
    assert told.holders[pid] == before
    assert before.process in told.ended


def test_memory_that_outlives_its_process_is_a_ghosts_from_the_moment_of_its_end(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    process = host.holder(pid).process
    host.end(pid)
    told = host.look(pid)
    ghost = told.holders[pid]
    assert (ghost.workload, ghost.owner.reason) == (Workload("cgroup", "?ghost_memory"), "ghost_memory")
    assert ghost.process.start_ns == told.ended[process]
    assert host.look(pid).holders[pid] == ghost


def test_a_zombie_holds_nothing_any_more(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    host.holder(pid)
    host.end(pid, reap=False)
    assert host.holder(pid).owner.reason == "ghost_memory"
    assert host.holder(pid).owner.reason == "ghost_memory"


def test_a_pid_that_was_gone_before_we_looked_has_vanished(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    host.end(pid)
    holder = host.holder(pid)
    assert (holder.workload.id, holder.owner.reason) == ("?pid_vanished", "pid_vanished")
    assert holder.process.start_ns == 0
    assert host.holder(pid) == holder


def test_a_pid_that_comes_again_is_another_process(host: PaperHost) -> None:
    """The paper procfs lets a second process have the first one's pid."""
    pid, second = host.start(DOCKER), host.start(USER)
    first = host.holder(pid)
    time.sleep(0.02)
    host.end(pid)
    (host.proc / str(pid) / "stat").unlink()
    (host.proc / str(pid) / "stat").symlink_to(f"/proc/{host.start(USER)}/stat")
    host.sit(pid, USER)
    told = host.look(pid, second)
    assert told.holders[pid].process.start_ns > first.process.start_ns
    assert told.holders[pid].owner.tenant == "user-1000"
    assert first.process in told.ended


def test_the_earliest_process_of_a_workload_decides_and_the_decision_stands_while_any_lives(tmp_path: Path) -> None:
    rules = [{"match": {"kind": "service", "uid": uid}, "tenant": f"uid-{uid}"} for uid in (1, 2, 3)]
    with PaperHost(tmp_path, rules) as host:
        pids = []
        for uid in (1, 2, 3):
            pids.append(host.start("/system.slice/train.service"))
            status = host.proc / str(pids[-1]) / "status"
            status.unlink()
            status.write_text(f"Name:\tx\nUid:\t{uid}\t0\t0\t0\n")
            time.sleep(0.02)
        assert {h.owner.tenant for h in host.look(pids[1], pids[0]).holders.values()} == {"uid-1"}
        host.end(pids[0])
        assert {h.owner.tenant for h in host.look(pids[2], pids[1]).holders.values()} == {"uid-1"}
        host.end(pids[1])
        host.end(pids[2])
        host.look()
        pids.append(host.start("/system.slice/train.service"))
        assert host.holder(pids[-1]).owner.tenant == "unattributed"


def test_without_a_pidfd_an_exit_is_found_on_the_next_tick_and_the_record_says_how_well_it_is_known(
    host: PaperHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pidfd(pid: int) -> int:
        raise OSError("too many open files")

    monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    pid = host.start(DOCKER)
    holder = host.holder(pid)
    assert holder.edge_uncertainty_ns > 1_000_000_000
    assert host.holder(pid) == holder
    host.end(pid)
    host.look(pid)
    assert host.holder(pid).owner.reason == "ghost_memory"


def test_when_descriptors_run_out_processes_are_still_attributed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_kernel, "raise_descriptor_limit", lambda: 3)
    with PaperHost(tmp_path) as host:
        pids = [host.start(DOCKER) for _ in range(8)]
        for _ in range(2):
            holders = host.look(*pids).holders
            assert {holder.owner.tenant for holder in holders.values()} == {"acme"}
        for pid in pids:
            host.end(pid)
        ended = host.look(*pids).ended
        assert {process.pid for process in ended} == set(pids)


def test_what_is_known_is_bounded(host: PaperHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KNOWN", 3)
    pids = [host.start(DOCKER) for _ in range(6)]
    before = descriptors()
    for _ in range(2):
        assert {holder.owner.tenant for holder in host.look(*pids).holders.values()} == {"acme"}
    assert descriptors() - before <= 2 * 3


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    before = descriptors()
    with PaperHost(tmp_path) as host:
        pids = [host.start(DOCKER) for _ in range(5)]
        host.look(*pids)
        host.end(pids[0])
        host.look(*pids)
        for _ in range(module.FORGET_AFTER_TICKS + 1):
            host.look(pids[1])
        during = descriptors()
        assert during - before == 1 + 2  # the epoll descriptor, and two of the one that stayed
    assert descriptors() == before


def test_a_process_that_left_its_device_is_remembered_for_a_while(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    process = host.holder(pid).process
    for _ in range(module.FORGET_AFTER_TICKS):
        host.look()
    host.end(pid)
    assert process in host.look().ended


def test_a_driver_that_hangs_does_not_make_us_forget(host: PaperHost) -> None:
    pid = host.start(DOCKER)
    process = host.holder(pid).process
    for _ in range(3 * module.FORGET_AFTER_TICKS):
        host.look(hung=True)
    host.end(pid)
    assert process in host.look(hung=True).ended


def test_the_folder_of_the_boundary_is_evidence(host: PaperHost) -> None:
    folder = host.cgroup / DOCKER[1:]
    folder.mkdir(parents=True)
    assert host.holder(host.start(DOCKER + "/inside")).boundary_inode == folder.stat().st_ino
    assert host.holder(host.start(USER)).boundary_inode == 0


@pytest.mark.root
def test_a_container_in_a_folder_that_a_tenant_was_given_is_the_tenants(host: PaperHost) -> None:
    """An operator handed /tenants/mallory over by hand: names inside are mallory's word."""
    victim = "/docker/" + "b" * 64
    forged = "/tenants/mallory/" + "b" * 64
    for path in (victim, forged):
        (host.cgroup / path[1:]).mkdir(parents=True)
    honest = host.holder(host.start(forged))
    assert honest.workload == Workload("docker", "b" * 64)
    os.chown(host.cgroup / "tenants" / "mallory", 1001, 1001)
    holder = host.holder(host.start(forged))
    assert (holder.workload, holder.boundary) == (Workload("cgroup", "/tenants/mallory"), "/tenants/mallory")
    assert host.holder(host.start(victim)).workload == Workload("docker", "b" * 64)


def test_the_limit_of_open_files_is_raised_and_leaves_room_for_others() -> None:
    most = raise_descriptor_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
    assert most < soft


def test_a_budget_of_descriptors_is_kept() -> None:
    budget = Descriptors(2)
    kept = [budget.keep(os.open("/dev/null", os.O_RDONLY)) for _ in range(3)]
    assert kept[2] is None
    assert budget.held == 2
    for descriptor in kept:
        budget.drop(descriptor)
    assert budget.held == 0


def test_rules_have_one_version_for_as_long_as_they_do_not_change(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with PaperHost(tmp_path / "a") as one, PaperHost(tmp_path / "b", RULES[:1]) as other:
        assert one.look().rules_version == one.attributor.rules_version != other.attributor.rules_version
