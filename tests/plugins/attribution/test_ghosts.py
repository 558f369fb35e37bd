"""Pids without a process: memory that stays behind, and processes that get such a pid later."""

from collections.abc import Iterator

import pytest

from gputally.model.reading import ProcessOnDevice
from gputally.model.workload import ProcessId

from .paper import DOCKER, USER, S
from .virtual import VirtualHost


@pytest.fixture
def host() -> Iterator[VirtualHost]:
    with VirtualHost.opened() as host:
        yield host


def reason(host: VirtualHost, pid: int, sm_percent: int | None = None) -> str:
    host.wait(S)
    return host.look_at(ProcessOnDevice(pid, 1 << 30, sm_percent)).holders[pid].owner.reason


def leave_a_ghost(host: VirtualHost, pid: int) -> int:
    host.kernel.start(pid, DOCKER)
    host.wait(S)
    host.look(pid)
    end_ns = host.wait(S // 2)
    host.kernel.end(pid)
    assert reason(host, pid) == "ghost_memory"
    return end_ns


def test_a_process_that_gets_a_ghosts_pid_is_not_billed_for_what_it_left_behind(host: VirtualHost) -> None:
    end_ns = leave_a_ghost(host, 7)
    host.kernel.start(7, USER)
    for _ in range(3):
        host.wait(S)
        holder = host.look(7).holders[7]
        assert (holder.owner.reason, holder.process) == ("ghost_memory", ProcessId(7, end_ns))


def test_nor_is_one_that_gets_the_pid_of_somebody_whom_nobody_ever_saw(host: VirtualHost) -> None:
    assert reason(host, 7) == "pid_vanished"
    host.kernel.start(7, USER)
    assert reason(host, 7) == "pid_vanished"


def test_a_process_with_a_ghosts_pid_that_is_sampled_at_work_is_itself(host: VirtualHost) -> None:
    leave_a_ghost(host, 7)
    host.kernel.start(7, USER)
    assert reason(host, 7, sm_percent=0) == "ghost_memory"
    assert reason(host, 7, sm_percent=3) == ""
    assert reason(host, 7) == ""


def test_a_ghosts_own_last_sample_does_not_raise_it(host: VirtualHost) -> None:
    leave_a_ghost(host, 7)
    assert reason(host, 7, sm_percent=50) == "ghost_memory"


def test_once_its_memory_is_freed_a_ghost_is_forgotten(host: VirtualHost) -> None:
    leave_a_ghost(host, 7)
    host.wait(S)
    host.look()
    host.kernel.start(7, USER)
    assert reason(host, 7) == ""


def test_a_ghost_keeps_its_name_however_long_it_stays(host: VirtualHost) -> None:
    leave_a_ghost(host, 7)
    first = host.look(7).holders[7]
    host.wait(3600 * S)
    assert host.look(7).holders[7] == first


def test_a_pid_that_changes_hands_while_it_is_met_is_not_held_by_the_first_ones_handle(
    host: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handle was of the first process, what was read is of the second: all over again."""
    host.kernel.start(7, DOCKER)
    watch = host.kernel.watch

    def then_change(pid: int) -> int | None:
        handle = watch(pid)
        if host.kernel.processes[7].cgroup == DOCKER:
            host.kernel.end(7)
            host.wait(S)
            host.kernel.start(7, USER)
        return handle

    monkeypatch.setattr(host.kernel, "watch", then_change)
    holder = host.look(7).holders[7]
    assert holder.owner.tenant == "user-1000"
    monkeypatch.undo()
    host.wait(S)
    assert host.look(7).ended == {}
    host.kernel.end(7)
    assert holder.process in host.look().ended
