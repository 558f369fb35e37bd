"""A disk that fails in the middle of a commit: nothing is lost, nothing is there twice, and metering goes on."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from gputally.daemon.keeper import MOST_WAITING, Keeper, WriterThread
from gputally.daemon.mending import mending
from gputally.daemon.sure_log import SureLog
from gputally.model.conservation import tile
from gputally.model.refused import Refused
from gputally.model.usage import Batch
from gputally.proto.convert import decode_batch
from gputally.storage.frame import read_frame
from gputally.storage.wal import Entry, Log, LogBroken

from ..model.host import S
from .test_keeper import CAP_BYTES, host_at

BEFORE, AFTER, AWAY = "before", "after", "away"
"""The commit fails before anything is durable, or after all of it is; or not even opening the file again works."""


class FailingLog(Log):
    """A real log on a real disk; the errors of its commits are told as LMDB tells them, when they are ordered."""

    faults: list[str]

    def has_room_to_spare(self) -> bool:
        if self.faults[:1] == [AWAY]:
            raise LogBroken("the disk is away")
        return super().has_room_to_spare()

    def append(self, entries: Sequence[Entry], checkpoint: bytes | None) -> int:
        fault = self.faults.pop(0) if self.faults else ""
        if fault in (BEFORE, AWAY):
            if fault == AWAY:
                self.faults.insert(0, AWAY)
            raise LogBroken("the disk fails")
        seq = super().append(entries, checkpoint)
        if fault == AFTER:
            raise LogBroken("the disk fails")
        return seq

    def reopen(self) -> None:
        if self.faults[:1] == [AWAY]:
            raise LogBroken("the disk is away")
        super().reopen()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FailingLog]:
    opened = FailingLog.open(tmp_path / "log", "host", CAP_BYTES)
    assert isinstance(opened, FailingLog)
    opened.faults = []
    yield opened
    opened.close()


def kept(log: Log) -> list[Batch]:
    return [decode_batch(read_frame(raw).payload()) for raw in log.read(1, 100_000, 1 << 30)]


@pytest.mark.parametrize("faults", [[BEFORE], [AFTER], [BEFORE, BEFORE], [AFTER, BEFORE], [BEFORE, AFTER], [AFTER] * 2])
def test_whatever_a_commit_came_to_each_frame_is_there_once(log: FailingLog, faults: list[str]) -> None:
    sure = SureLog(log)
    entries = [Entry(1, b"one"), Entry(1, b"two")]
    log.faults = list(faults)
    try:
        sure.append(entries, b"open")
    except LogBroken:
        assert len(faults) == 2
        sure.append([*entries, Entry(1, b"three")], b"open")
    payloads = [read_frame(raw).payload() for raw in log.read(1, 10, 1 << 20)]
    assert payloads == [b"one", b"two", b"three"][: len(payloads)]
    assert len(payloads) == (2 if log.stat().last_seq == 2 else 3)


def test_without_looking_at_the_end_a_frame_would_be_there_twice(log: FailingLog) -> None:
    """The control of the test above."""
    log.faults = [AFTER]
    entries = [Entry(1, b"one")]
    with pytest.raises(LogBroken):
        log.append(entries, b"open")
    log.append(entries, b"open")
    assert log.stat().last_seq == 2


@pytest.mark.parametrize("fault", [BEFORE, AFTER, AWAY])
def test_what_closes_while_the_disk_fails_waits_and_is_kept_in_order(log: FailingLog, fault: str) -> None:
    host = host_at(300)

    async def main() -> None:
        keeper = Keeper(log, WriterThread())
        log.faults = [fault, fault, fault]
        for batch in host.batches[:3]:
            await keeper.keep(host.meter, batch)
        log.faults = []
        for batch in host.batches[3:]:
            await keeper.keep(host.meter, batch)
        assert keeper.waiting == ()

    trio.run(main)
    assert kept(log) == host.batches


def test_a_tick_without_news_brings_what_waited_to_the_disk(log: FailingLog) -> None:
    host = host_at(130)

    async def main() -> None:
        keeper = Keeper(log, WriterThread())
        log.faults = [AWAY]
        assert await keeper.keep(host.meter, host.batches[0]) == []
        assert keeper.waiting == (host.batches[0],)
        log.faults = []
        assert await keeper.keep(host.meter, None) == [host.batches[0]]

    trio.run(main)
    assert kept(log) == host.batches[:1]


def test_beyond_the_bound_what_closes_becomes_an_exact_gap(log: FailingLog) -> None:
    host = host_at(60 * 6)

    async def main() -> Keeper:
        keeper = Keeper(log, WriterThread())
        log.faults = [AWAY]
        keeper.waiting = tuple(host.batches[:1]) * MOST_WAITING
        await keeper.keep(host.meter, host.batches[1])
        assert len(keeper.waiting) == MOST_WAITING
        return keeper

    keeper = trio.run(main)
    lost = [row.segment.boot for rows in keeper.refused.stretches.values() for row in rows]
    assert lost == [row.segment.boot for row in host.batches[1].rows]


def test_a_batch_that_waits_while_time_is_undeclared_does_not_say_that_all_is_told(log: FailingLog) -> None:
    host = host_at(60 * 4)
    first, second, third = (replace(batch, complete_through_ns=n) for n, batch in enumerate(host.batches[1:4]))

    async def main() -> None:
        keeper = Keeper(log, WriterThread(), Refused().with_batch(first))
        log.faults = [AWAY]
        await keeper.keep(host.meter, second)
        log.faults = []
        await keeper.keep(host.meter, third)
        assert keeper.refused, "nothing is declared while anything waits"

    trio.run(main)
    assert [batch.complete_through_ns for batch in kept(log)] == [None, None]


def test_a_life_that_ends_while_batches_wait_is_followed_by_one_that_does_not_say_their_time_again(
    log: FailingLog,
) -> None:
    host = host_at(60)

    async def main() -> None:
        keeper, said = Keeper(log, WriterThread()), 0
        for tick in range(61, 300):
            log.faults = [AWAY] if tick > 150 else []
            host.tick(tick * S)
            for batch in host.batches[said:]:
                await keeper.keep(host.meter, batch)
            said = len(host.batches)
        assert len(keeper.waiting) > 1
        meter = await keeper.restore()
        assert meter is not None
        host.meter, log.faults = meter, []
        for tick in range(300, 400):
            host.tick(tick * S)
        host.stop()
        for batch in host.batches[said:]:
            await keeper.keep(host.meter, batch)

    trio.run(main)
    tiling = tile(row.segment.boot for batch in kept(log) for row in batch.rows)
    assert (tiling.holes, tiling.overlaps) == ((), ())


def test_an_actor_that_meets_a_broken_log_begins_again_once_it_is_opened() -> None:
    lives: list[float] = []

    async def life() -> None:
        lives.append(trio.current_time())
        if len(lives) < 4:
            raise LogBroken("the disk fails")

    async def reopen() -> None:
        if len(lives) == 2:
            raise LogBroken("the disk is away")

    async def main() -> None:
        await mending(life, reopen)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [after - before for before, after in itertools.pairwise(lives)] == [1.0, 2.0, 4.0]


def test_a_reopened_log_goes_on_where_it_stood_while_others_read_it(log: FailingLog) -> None:
    log.append([Entry(1, b"one")], b"open")
    before = log.stat()
    log.reopen()
    assert log.stat() == before
    assert log.append([Entry(1, b"two")], None) == 2
    assert log.checkpoint() == b"open"
