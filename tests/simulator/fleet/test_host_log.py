"""A simulated host's log: what is said again after a broken stream, and what it holds."""

import pytest

from gputally.simulator.fleet.host_log import HostLog

from .test_plan import PLAN


def say(log: HostLog, through_seq: int) -> list[int]:
    said: list[int] = []
    while (frame := log.take(through_seq)) is not None:
        said.append(frame.seq)
    return said


def test_what_was_not_committed_when_the_stream_broke_is_said_again_in_order() -> None:
    log = HostLog(PLAN, 0)
    assert say(log, 5) == [1, 2, 3, 4, 5]
    log.acknowledge(1)
    assert [frame.seq for frame in log.begin_again(3)] == [2, 3]
    assert say(log, 7) == [4, 5, 6, 7]
    assert log.acked_seq == 3 and log.is_in_doubt


def test_a_stream_that_breaks_twice_loses_nothing() -> None:
    log = HostLog(PLAN, 0)
    say(log, 4)
    log.begin_again(0)
    assert log.take(4) is not None
    log.begin_again(0)
    assert say(log, 4) == [1, 2, 3, 4]


def test_nothing_is_kept_of_what_is_acknowledged() -> None:
    log = HostLog(PLAN, 0)
    say(log, 10)
    assert len(log.acknowledge(10)) == 10
    assert not log.is_in_doubt and log.on_wire_frames == 0
    assert log.acknowledge(4) == [] and log.acked_seq == 10


def test_an_acknowledgement_of_what_was_never_said_is_a_lie() -> None:
    log = HostLog(PLAN, 0)
    say(log, 2)
    log.prepare()
    with pytest.raises(ValueError, match="frame 3 is acknowledged, and 2 is the last"):
        log.acknowledge(3)
