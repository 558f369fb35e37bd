"""Following every process of a host: short ones are found, and nobody is taken for another."""

from collections.abc import Iterator

import pytest

from gputally.model.workload import Workload
from gputally.plugins.attribution import follower as module
from gputally.plugins.attribution.follower import EDGE_UNCERTAINTY_NS, FIRST_LOOK_NS, Follower
from gputally.plugins.attribution.kernel import Change, GroupStat
from gputally.simulator.memory_kernel import MemoryProcess

from .paper import DOCKER, USER, S
from .virtual import MS, VirtualHost

LAUNCHER = "/system.slice/containerd.service"
ROOM = 1000


@pytest.fixture
def host() -> Iterator[VirtualHost]:
    with VirtualHost.opened(room=ROOM) as host:
        yield host


def follower(host: VirtualHost) -> Follower:
    assert host.attributor.follower is not None
    return host.attributor.follower


def run(host: VirtualHost, pid: int, cgroup: str, length_ns: int) -> tuple[int, int]:
    """A process that begins now and is followed as the daemon does; when it began and ended."""
    start_ns = host.now_ns
    host.kernel.start(pid, cgroup)
    host.kernel.become_program(pid)
    host.follow(length_ns)
    host.kernel.end(pid)
    return start_ns, host.now_ns


def test_a_job_that_begins_and_ends_between_two_ticks_is_its_tenants_to_the_millisecond(host: VirtualHost) -> None:
    host.look()
    host.wait(123_456_789)
    start_ns, end_ns = run(host, 7, DOCKER, 200 * MS)
    host.wait(500 * MS)
    told = host.passage(7, start_ns + 100 * MS, end_ns - 20 * MS)
    assert (told.holder.owner.tenant, told.holder.workload) == ("acme", Workload("docker", "a" * 64))
    assert told.start_ns is not None
    assert told.start_ns <= start_ns <= told.start_ns + EDGE_UNCERTAINTY_NS
    assert (told.end_ns, told.uncertainty_ns) == (end_ns, 2 * EDGE_UNCERTAINTY_NS)
    assert told.holder.boundary == DOCKER


def test_without_it_the_same_job_has_vanished() -> None:
    with VirtualHost.opened() as host:
        start_ns, _ = run(host, 7, DOCKER, 200 * MS)
        assert host.passage(7, start_ns + 100 * MS).holder.owner.reason == "pid_vanished"


def test_a_listed_process_that_was_gone_before_we_looked_is_still_its_tenants(host: VirtualHost) -> None:
    run(host, 7, DOCKER, 200 * MS)
    end_ns = host.now_ns
    told = host.look(7, at_ns=end_ns - 10 * MS)
    assert told.holders[7].owner.tenant == "acme"
    assert told.ended == {told.holders[7].process: end_ns}
    assert host.look(7).holders[7].owner.reason == "pid_vanished"


def test_a_process_that_its_launcher_moves_into_its_group_is_found_there(host: VirtualHost) -> None:
    start_ns = host.now_ns
    host.kernel.start(7, LAUNCHER)
    host.follow(FIRST_LOOK_NS // 2)
    host.kernel.processes[7].cgroup = DOCKER
    host.follow(200 * MS)
    host.kernel.end(7)
    assert host.passage(7, start_ns + 100 * MS).holder.owner.tenant == "acme"


def test_another_program_in_the_same_process_is_looked_at_anew(host: VirtualHost) -> None:
    """A container's runtime waits in the launcher's group, is moved, and then becomes the tenant's program."""
    start_ns = host.now_ns
    host.kernel.start(7, LAUNCHER)
    host.follow(300 * MS)
    host.kernel.processes[7].cgroup = DOCKER
    host.kernel.become_program(7)
    host.follow(200 * MS)
    host.kernel.end(7)
    assert host.passage(7, start_ns + 400 * MS).holder.owner.tenant == "acme"


def test_a_process_that_is_moved_late_is_looked_at_again(host: VirtualHost) -> None:
    host.kernel.start(7, LAUNCHER)
    host.follow(300 * MS)
    host.kernel.processes[7].cgroup = DOCKER
    host.follow(2 * S)
    host.kernel.end(7)
    assert host.passage(7, host.now_ns - 100 * MS).holder.owner.tenant == "acme"


def test_a_child_that_was_gone_before_it_was_looked_at_is_not_taken_for_its_parents(host: VirtualHost) -> None:
    host.kernel.start(6, USER)
    host.follow(S)
    start_ns, end_ns = run(host, 7, USER, FIRST_LOOK_NS // 2)
    told = host.passage(7, start_ns + 1, end_ns)
    assert told.holder.owner.reason == "pid_vanished"
    assert follower(host).unseen == 1


def test_who_had_the_pid_when_the_driver_saw_it_is_who_is_billed(host: VirtualHost) -> None:
    first = run(host, 7, DOCKER, 200 * MS)
    host.follow(50 * MS)
    second = run(host, 7, USER, 200 * MS)
    host.follow(50 * MS)
    assert host.passage(7, first[0] + 100 * MS).holder.owner.tenant == "acme"
    assert host.passage(7, second[0] + 100 * MS).holder.owner.tenant == "user-1000"
    assert host.passage(7, first[0] + 100 * MS, second[0] + 100 * MS).holder.owner.reason == "pid_vanished"


def test_a_pid_that_was_given_away_before_we_looked_is_not_the_first_ones(host: VirtualHost) -> None:
    """Both are in the queue when we wake up: the look finds the second one."""
    first_ns = host.now_ns
    host.kernel.start(7, DOCKER)
    host.wait(100 * MS)
    host.kernel.end(7)
    host.wait(100 * MS)
    second_ns = host.now_ns
    host.kernel.start(7, USER)
    host.wait(100 * MS)
    host.follow(100 * MS)
    host.kernel.end(7)
    assert host.passage(7, first_ns + 50 * MS).holder.owner.reason == "pid_vanished"
    assert host.passage(7, second_ns + 50 * MS).holder.owner.tenant == "user-1000"


def test_the_next_process_with_the_pid_is_not_looked_at_in_the_first_ones_place(host: VirtualHost) -> None:
    """It came after we took up what had happened, and before we looked."""
    start_ns = host.now_ns
    host.kernel.start(7, DOCKER)
    host.attributor.note_happenings()
    host.wait(100 * MS)
    host.kernel.processes[7] = MemoryProcess(7, host.now_ns, USER)
    host.follow(50 * MS)
    assert host.kernel.happenings is not None
    host.kernel.happenings.tell(Change.EXIT, 7, start_ns + 90 * MS)
    assert host.passage(7, start_ns + 50 * MS).holder.owner.reason == "pid_vanished"
    assert follower(host).unseen == 1


def test_nor_is_it_when_the_first_one_had_been_looked_at(host: VirtualHost) -> None:
    start_ns = host.now_ns
    host.kernel.start(7, DOCKER)
    host.follow(500 * MS)
    host.kernel.processes[7] = MemoryProcess(7, host.now_ns, USER)
    host.follow(S)
    assert host.kernel.happenings is not None
    host.kernel.happenings.tell(Change.EXIT, 7, start_ns + 499 * MS)
    assert host.passage(7, start_ns + 100 * MS).holder.owner.tenant == "acme"


def test_nor_is_its_uid(host: VirtualHost, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [{"match": {"kind": "service", "uid": "*"}, "tenant": "{1}"}]
    with VirtualHost.opened(rules, room=ROOM) as host:
        start_ns = host.now_ns
        host.kernel.start(7, LAUNCHER, uid=1)

        def come_again(pid: int) -> int:
            host.kernel.processes[7] = MemoryProcess(7, host.now_ns, LAUNCHER, uid=2)
            return 2

        monkeypatch.setattr(host.kernel, "read_uid", come_again)
        host.follow(50 * MS)
        assert host.kernel.happenings is not None
        host.kernel.happenings.tell(Change.EXIT, 7, start_ns + 49 * MS)
        assert host.passage(7, start_ns + 20 * MS).holder.owner.reason == "pid_vanished"


def test_an_owner_known_from_the_lists_and_edges_known_from_the_kernel_make_one_answer(host: VirtualHost) -> None:
    start_ns = host.wait(3 * MS)
    host.kernel.start(7, DOCKER)
    host.follow(S)
    holder = host.look(7).holders[7]
    end_ns = host.wait(300 * MS)
    host.kernel.end(7)
    host.wait(700 * MS)
    told = host.passage(7, end_ns - 100 * MS)
    assert (told.holder, told.end_ns, told.uncertainty_ns) == (holder, end_ns, 2 * EDGE_UNCERTAINTY_NS)
    assert told.start_ns is not None
    assert told.start_ns <= start_ns <= told.start_ns + EDGE_UNCERTAINTY_NS


def test_a_process_that_began_before_us_is_followed_from_its_next_program_on(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    assert host.kernel.happenings is not None
    host.kernel.happenings.collect()
    host.wait(S)
    host.kernel.become_program(7)
    host.follow(200 * MS)
    host.kernel.end(7)
    told = host.passage(7, host.now_ns - 50 * MS)
    assert (told.holder.owner.tenant, told.start_ns) == ("acme", told.holder.process.start_ns)


def test_the_owner_of_a_folder_is_judged_while_it_is_there(host: VirtualHost) -> None:
    """A tenant's own folder, named like a container's and gone with its process."""
    host.kernel.folders["/tenants/mallory"] = GroupStat(1001, 5)
    start_ns, _ = run(host, 7, "/tenants/mallory/" + "b" * 64, 200 * MS)
    del host.kernel.folders["/tenants/mallory"]
    assert host.passage(7, start_ns + 100 * MS).holder.workload == Workload("cgroup", "/tenants/mallory")


def test_a_rule_on_the_uid_decides_for_a_process_that_nobody_ever_listed() -> None:
    rules = [{"match": {"kind": "service", "uid": uid}, "tenant": f"uid-{uid}"} for uid in (1, 2)]
    with VirtualHost.opened(rules, room=ROOM) as host:
        start_ns = host.now_ns
        host.kernel.start(7, "/system.slice/train.service", uid=2)
        host.follow(200 * MS)
        host.kernel.end(7)
        assert host.passage(7, start_ns + 100 * MS).holder.owner.tenant == "uid-2"


def test_a_workload_has_one_owner_whoever_of_it_passed_by() -> None:
    """Its earliest process decides, also for one of another uid that was never listed."""
    rules = [{"match": {"kind": "service", "uid": uid}, "tenant": f"uid-{uid}"} for uid in (1, 2)]
    with VirtualHost.opened(rules, room=ROOM) as host:
        host.kernel.start(6, "/system.slice/train.service", uid=1)
        host.look(6)
        start_ns = host.now_ns
        host.kernel.start(7, "/system.slice/train.service", uid=2)
        host.follow(200 * MS)
        host.kernel.end(7)
        assert host.passage(7, start_ns + 100 * MS).holder.owner.tenant == "uid-1"


def test_a_process_that_outlives_its_group_keeps_its_owner(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    host.follow(300 * MS)
    host.kernel.processes[7].cgroup = "/ (deleted)"
    host.follow(2 * S)
    host.kernel.end(7)
    assert host.passage(7, host.now_ns - 100 * MS).holder.owner.tenant == "acme"


def test_after_an_overrun_nobody_is_taken_for_who_had_the_pid_before() -> None:
    """The end of the first and the birth of the second were lost, the end of the second was not."""
    with VirtualHost.opened(room=4) as host:
        host.kernel.start(7, DOCKER)
        host.follow(300 * MS)
        for other in range(100, 104):
            host.kernel.start(other, USER)
        host.kernel.end(7)
        host.wait(50 * MS)
        host.kernel.start(7, USER)
        host.follow(200 * MS)
        assert follower(host).overruns == 2
        host.kernel.end(7)
        host.follow(50 * MS)
        assert host.passage(7, host.now_ns - 100 * MS).holder.owner.reason == "pid_vanished"


def test_who_is_followed_is_bounded_and_the_rest_is_counted(host: VirtualHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FOLLOWED", 2)
    start_ns = host.now_ns
    for pid in (7, 8, 9):
        host.kernel.start(pid, DOCKER)
    host.follow(200 * MS)
    for pid in (7, 8, 9):
        host.kernel.end(pid)
    assert follower(host).refused == 1
    tenants = [host.passage(pid, start_ns + 100 * MS).holder.owner.tenant for pid in (7, 8, 9)]
    assert tenants == ["acme", "acme", "unattributed"]


def test_a_first_thread_that_ends_first_does_not_end_the_process(host: VirtualHost) -> None:
    """The kernel tells of the first thread only; procfs still shows the process."""
    host.kernel.start(7, DOCKER)
    host.follow(200 * MS)
    assert host.kernel.happenings is not None
    host.kernel.happenings.tell(Change.EXIT, 7, host.now_ns)
    used_ns = host.now_ns
    host.follow(3 * S)
    told = host.passage(7, used_ns - 100 * MS, host.now_ns)
    assert (told.holder.owner.tenant, told.end_ns) == ("acme", None)
    assert host.passage(7, used_ns - 100 * MS).end_ns is None


def test_a_process_of_another_namespace_is_not_guessed_at(host: VirtualHost) -> None:
    start_ns, _ = run(host, 7, "/../" + DOCKER, 200 * MS)
    assert host.passage(7, start_ns + 100 * MS).holder.owner.reason == "cgroup_hidden"
