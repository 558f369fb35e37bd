"""The attributor on a kernel in memory: what a simulation on a virtual clock relies on."""

import select
from collections.abc import Iterator

import pytest

from gputally.plugins.attribution.kernel import TICK_NS, GroupStat

from .paper import DOCKER, USER, S
from .virtual import VirtualHost


@pytest.fixture
def host() -> Iterator[VirtualHost]:
    with VirtualHost.opened() as host:
        yield host


def test_an_exit_is_stamped_as_exactly_as_the_kernel_can_tell(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    process = host.look(7).holders[7].process
    host.now_ns += S
    host.kernel.end(7, at_ns=host.now_ns - 123)
    assert host.look().ended == {process: host.now_ns - 123}


def test_the_end_of_a_watched_process_makes_the_descriptor_readable(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    host.look(7)
    poll = select.poll()
    poll.register(host.attributor.fileno(), select.POLLIN)
    assert not poll.poll(0)
    host.kernel.end(7)
    assert poll.poll(0)
    host.attributor.note_exits()
    assert not poll.poll(0)


def test_a_pid_that_comes_again_between_two_ticks_ends_the_first_and_is_another(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    first = host.look(7).holders[7]
    host.now_ns += S // 2
    host.kernel.end(7)
    host.now_ns += S // 4
    second = host.kernel.start(7, USER)
    host.now_ns += S // 4
    told = host.look(7)
    assert (told.holders[7].owner.tenant, told.holders[7].process.start_ns) == ("user-1000", second.start_ns)
    assert told.ended == {first.process: host.now_ns - S // 2}


def test_a_start_is_cut_to_the_tick_as_procfs_cuts_it(host: VirtualHost) -> None:
    host.now_ns += TICK_NS - 1
    host.kernel.start(7, DOCKER)
    assert host.look(7).holders[7].process.start_ns == host.now_ns - TICK_NS + 1


def test_zombies_hidden_processes_and_handed_over_folders_can_be_staged(host: VirtualHost) -> None:
    for pid in (7, 8, 9):
        host.kernel.start(pid, "/tenants/mallory/" + "b" * 64)
    host.kernel.processes[8].hidden = True
    host.kernel.folders["/tenants/mallory"] = GroupStat(uid=1001, inode=5)
    told = host.look(7, 8, 9).holders
    assert [told[pid].workload.id for pid in (7, 8)] == ["/tenants/mallory", "?cgroup_hidden"]
    assert told[7].boundary_inode == 5
    host.now_ns += S
    host.kernel.end(9, reaped=False)
    host.now_ns += S
    assert host.look(7, 8, 9).holders[9].owner.reason == "ghost_memory"
