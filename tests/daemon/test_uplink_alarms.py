"""What waiting does not mend is an alarm until something is acknowledged; a reason is told once, not each time."""

import logging

import grpc
import pytest
import trio

from gputally.daemon.alarms import Alarms
from gputally.daemon.status import count_alarms, describe_alarms
from gputally.storage.wal import Log

from .rude_collector import RudeCollector
from .test_uplink import all_acknowledged, collector, in_trio, log, running, until, write

__all__ = ["collector", "log"]

IN_USE = grpc.StatusCode.ALREADY_EXISTS, "HostIdInUse: gpu-01 has a live stream already"


class Always(set[int]):
    """Nothing is lost only once."""

    def discard(self, element: object, /) -> None:
        pass


@in_trio
async def test_a_refused_host_is_an_alarm_until_something_is_acknowledged(log: Log, collector: RudeCollector) -> None:
    write(log, 3)
    collector.manners.refuse = IN_USE
    async with running(log, collector.address) as uplink:
        await until(lambda: uplink.alarm is not None)
        (told,) = describe_alarms(Alarms(), uplink)
        assert (told["kind"], told["devices"]) == ("uplink_refused", []) and "HostIdInUse" in told["why"]
        assert told["since"].endswith("Z") and count_alarms(Alarms(), uplink) == {"uplink_refused": 1}
        since_ns = uplink.alarm.since_wall_ns if uplink.alarm else 0
        await trio.sleep(0.3)  # other attempts
        assert uplink.alarm is not None and uplink.alarm.since_wall_ns == since_ns
        collector.manners.refuse = None
        await all_acknowledged(log)
        await until(lambda: uplink.alarm is None)
        assert (describe_alarms(Alarms(), uplink), count_alarms(Alarms(), uplink)) == ([], {})


@in_trio
async def test_a_collector_that_cannot_be_reached_is_no_alarm(log: Log, collector: RudeCollector) -> None:
    collector.stop()
    write(log, 3)
    async with running(log, collector.address) as uplink:
        await until(lambda: uplink.status().state == "backoff")
        assert uplink.alarm is None
    collector.start()


@in_trio
async def test_an_uplink_that_stopped_because_of_forks_is_an_alarm(log: Log, collector: RudeCollector) -> None:
    write(log, 5)
    collector.manners.head_hash, collector.manners.lies_for_ever = b"x" * 32, True
    async with running(log, collector.address) as uplink:
        await until(lambda: uplink.status().state == "forked")
        assert uplink.alarm is not None and uplink.alarm.kind == "uplink_forked"


@in_trio
async def test_a_ledger_whose_disk_is_full_is_one_line_not_a_pair_at_each_attempt(
    log: Log, collector: RudeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    """It welcomes the host, takes its frames and then ends the stream, again and again."""
    caplog.set_level(logging.INFO, "gputally.daemon.uplink_status")
    write(log, 3)
    collector.manners.lose_once, collector.manners.break_after = Always({1, 2, 3}), 1

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "gputally.daemon.uplink_status"]

    async with running(log, collector.address):
        await until(lambda: len(collector.hellos) >= 6)
        before = lines()
        assert sum(line.startswith(f"no stream to {collector.address}") for line in before) == 1
        assert len(before) <= 2, "whether the first stream was seen to open before it broke is chance"
        collector.manners.lose_once, collector.manners.break_after = set(), None
        await all_acknowledged(log)
        await until(lambda: len(lines()) > len(before))
    assert lines()[len(before) :] == [f"streaming to {collector.address}"]
