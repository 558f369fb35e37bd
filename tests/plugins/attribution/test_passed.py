"""Processes that no list shows and that used a device all the same: whose they were, for certain or not at all."""

from collections.abc import Iterator

import pytest

from gputally.model.reading import Accounted
from gputally.model.workload import ProcessId, Workload
from gputally.plugins.attribution.kernel import TICK_NS
from gputally.plugins.attribution.memory import REMEMBERED_S

from .paper import DOCKER, USER, S
from .virtual import MS, VirtualHost


@pytest.fixture
def host() -> Iterator[VirtualHost]:
    with VirtualHost.opened() as host:
        yield host


def test_a_process_that_was_never_met_has_vanished_and_nobody_is_billed(host: VirtualHost) -> None:
    start_ns, _ = host.live(7, DOCKER, 200 * MS)
    told = host.passage(7, start_ns + 100 * MS)
    assert (told.holder.workload, told.holder.owner.reason) == (Workload("cgroup", "?pid_vanished"), "pid_vanished")
    assert (told.start_ns, told.end_ns) == (None, None)
    assert told.uncertainty_ns == S


def test_a_process_that_lives_and_closed_its_context_is_itself(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    start_ns = host.now_ns
    used_ns = host.wait(300 * MS)
    host.wait(500 * MS)
    told = host.passage(7, used_ns)
    assert (told.holder.owner.tenant, told.holder.process) == ("acme", ProcessId(7, start_ns))
    assert (told.start_ns, told.end_ns, told.uncertainty_ns) == (start_ns, None, TICK_NS)


def test_one_that_passed_by_and_lives_is_known_from_then_on(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    first = host.passage(7, host.wait(300 * MS))
    host.wait(S)
    host.kernel.end(7)
    assert first.holder.process in host.look().ended
    told = host.passage(7, host.now_ns - 100 * MS)
    assert (told.holder, told.end_ns) == (first.holder, host.now_ns)


def test_a_process_that_was_listed_and_ended_since_is_remembered(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    host.wait(S)
    holder = host.look(7).holders[7]
    used_ns = host.wait(300 * MS)
    end_ns = host.wait(100 * MS)
    host.kernel.end(7)
    host.wait(600 * MS)
    for _ in range(3):
        told = host.passage(7, used_ns)
        assert (told.holder, told.start_ns, told.end_ns) == (holder, holder.process.start_ns, end_ns)
        host.wait(S)


def test_what_the_driver_tells_late_goes_to_who_had_the_pid_then_and_not_to_who_has_it_now(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    host.wait(S)
    host.look(7)
    used_ns = host.wait(300 * MS)
    host.kernel.end(7)
    host.wait(100 * MS)
    host.kernel.start(7, USER)
    host.wait(600 * MS)
    assert host.passage(7, used_ns - 50 * MS).holder.owner.tenant == "acme"
    assert host.passage(7, host.now_ns).holder.owner.tenant == "user-1000"


def test_a_pid_that_came_again_while_nobody_looked_is_not_billed_to_who_has_it_now(host: VirtualHost) -> None:
    _, end_ns = host.live(7, DOCKER, 200 * MS)
    host.wait(100 * MS)
    host.kernel.start(7, USER)
    host.wait(600 * MS)
    told = host.passage(7, end_ns - 50 * MS)
    assert told.holder.owner.reason == "pid_vanished"


def test_evidence_of_two_processes_with_one_pid_is_given_to_neither(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    host.wait(S)
    host.look(7)
    host.kernel.end(7)
    host.wait(100 * MS)
    host.kernel.start(7, USER)
    host.wait(S)
    told = host.passage(7, host.now_ns - 1200 * MS, host.now_ns)
    assert told.holder.owner.reason == "pid_vanished"


def test_an_accounting_record_is_evidence_for_all_of_its_time(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    start_ns = host.now_ns
    host.wait(S)
    host.look(7)
    host.wait(200 * MS)
    host.kernel.end(7)
    host.wait(S)
    told = host.passage(7, accounted=Accounted(start_ns + 300 * MS, 800 * MS))
    assert told.holder.owner.tenant == "acme"
    told = host.passage(7, accounted=Accounted(start_ns - 5 * S, 800 * MS))
    assert told.holder.owner.reason == "pid_vanished"


def test_what_is_older_than_the_memory_has_vanished(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    host.wait(S)
    host.look(7)
    used_ns = host.now_ns
    host.kernel.end(7)
    host.look()
    host.wait(REMEMBERED_S * S)
    assert host.passage(7, used_ns).holder.owner.tenant == "acme"
    host.wait(1)
    assert host.passage(7, used_ns).holder.owner.reason == "pid_vanished"


def test_a_process_that_procfs_hides_is_there_and_hidden(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    host.kernel.processes[7].hidden = True
    assert host.passage(7, host.wait(S)).holder.owner.reason == "cgroup_hidden"


def test_a_zombie_that_passed_by_is_told_of_from_memory(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    host.wait(S)
    host.look(7)
    end_ns = host.wait(S // 2)
    host.kernel.end(7, reaped=False)
    host.wait(S // 2)
    told = host.passage(7, end_ns - 100 * MS)
    assert (told.holder.owner.tenant, told.end_ns) == ("acme", end_ns)


def test_a_process_that_left_its_device_long_ago_and_passes_by_again_is_the_same(host: VirtualHost) -> None:
    host.kernel.start(7, DOCKER)
    holder = host.look(7).holders[7]
    for _ in range(100):
        host.wait(S)
        host.look()
    assert host.passage(7, host.now_ns - S // 2).holder == holder
