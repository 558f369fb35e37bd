"""A host's log begun anew, and a real collector behind it: what goes on a second time is counted once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import deliver
from gputally.storage.frame import Frame, read_frame
from gputally.storage.wal import Entry, Log
from gputally.storage.wal_platter import Platter

from .running import RunningCollector, write_config
from .test_crash import DAY, busy_host, check_exact, small_frames

MIB = 1024 * 1024


@pytest.fixture
def host() -> SimulatedHost:
    return busy_host()


@pytest.fixture
def log(tmp_path: Path, host: SimulatedHost) -> Iterator[Log]:
    """It holds everything that the host has to say."""
    log = Log.open(tmp_path / "log", host.host_id, 16 * MIB, Platter(flush=False))
    log.append([Entry(frame.record_count, frame.payload()) for frame in small_frames(host)], None)
    yield log
    log.close()


def held(log: Log) -> list[Frame]:
    return [read_frame(raw) for raw in log.read(1, 10**6, 1 << 30)]


def tell(collector: RunningCollector, log: Log, host: SimulatedHost, frames: list[Frame]) -> None:
    heard = deliver(collector.intake, host.host_id, log.epoch, frames)
    log.acknowledge(heard.through_seq, 1)


def answers(collector: RunningCollector) -> list[object]:
    told = [
        collector.usage(**DAY),
        collector.usage(**DAY, group_by="device,org", window="hour", limit=1000),
        collector.ask("/v1/conservation", **DAY).json(),
        collector.ask("/v1/records", **DAY, limit=1000).json(),
        collector.ask("/v1/quarantine").json(),
    ]
    for each in told:
        each.pop("as_of", None)  # how far the ledger was folded
    return told


def test_acknowledged_frames_that_go_on_in_a_new_epoch_change_no_total_and_no_row(
    tmp_path: Path, log: Log, host: SimulatedHost
) -> None:
    with RunningCollector(write_config(tmp_path)) as collector:
        tell(collector, log, host, held(log)[:120])
        log.begin_epoch("fork")
        first, *frames = held(log)
        assert len(frames) == len(small_frames(host)) > 120
        tell(collector, log, host, [first, *frames])
        check_exact(collector)
        before = answers(collector)
        log.begin_epoch("fork")
        assert len(held(log)) == len(frames) + 2
        tell(collector, log, host, held(log))
        check_exact(collector)
        assert answers(collector) == before
        (state,) = collector.ask("/v1/hosts").json()["items"]
        assert state["duplicates"] >= 2 * 8_640  # each record and each row of the second time


def test_a_ledger_that_is_lost_after_a_host_began_anew_gets_from_it_all_that_is_held(
    tmp_path: Path, log: Log, host: SimulatedHost
) -> None:
    with RunningCollector(write_config(tmp_path)) as collector:
        tell(collector, log, host, held(log))
    log.begin_epoch("damage")
    other = tmp_path / "other"
    other.mkdir()
    with RunningCollector(write_config(other)) as collector:
        tell(collector, log, host, held(log))
        check_exact(collector)
