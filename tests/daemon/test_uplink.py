"""Whatever the collector and the network do, every frame arrives once, and nothing is acknowledged that did not."""

import logging
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio

from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import WriterThread
from gputally.daemon.replay_events import Acknowledge, Bury, Opened
from gputally.daemon.uplink import MOST_EPOCHS_AN_HOUR, Uplink
from gputally.daemon.uplink_channel import Trouble
from gputally.daemon.uplink_session import Pace
from gputally.daemon.uplink_stream import Stream
from gputally.daemon.uplink_words import hello
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.proto.v1 import usage_pb2
from gputally.storage.frame import read_frame
from gputally.storage.wal import Entry, Log, LogBroken, LogFull

from .rude_collector import Proxy, RudeCollector, free_port

MIB = 1024 * 1024
HOST = "gpu-01"
FAST = Pace(welcome_s=1.0, ack_s=1.0, goodbye_s=0.5, close_s=0.5, first_retry_s=0.02, longest_retry_s=0.1)


def in_trio(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs an async test, and ends it if it hangs."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        async def bounded() -> None:
            with trio.fail_after(20):
                await test(**fixtures)

        trio.run(bounded)

    return run


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = Log.open(tmp_path / "log", HOST, 4 * MIB)
    yield opened
    opened.close()


@pytest.fixture
def collector() -> Iterator[RudeCollector]:
    serving = RudeCollector()
    yield serving
    serving.stop()


def write(log: Log, count: int, payload_bytes: int = 300) -> None:
    log.append([Entry(10, os.urandom(payload_bytes)) for _ in range(count)], None)


@asynccontextmanager
async def running(log: Log, *endpoints: str, pace: Pace = FAST, **settings: Any) -> AsyncIterator[Uplink]:
    told: dict[str, Any] = {"insecure_plaintext": True, "linger_s": 0.1, **settings}
    uplink = Uplink(log, UplinkConfig(endpoints=endpoints, **told), HOST, "0.test", WriterThread(), pace=pace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uplink.run)
        yield uplink
        nursery.cancel_scope.cancel()


async def until(what: Callable[[], object]) -> None:
    while not what():
        await trio.sleep(0.01)


async def all_acknowledged(log: Log) -> None:
    await until(lambda: log.stat().unacked_frames == 0)


def seqs(collector: RudeCollector) -> list[int]:
    return [read_frame(raw).seq for raw in collector.ledger.frames]


@in_trio
async def test_the_bytes_on_disk_arrive_in_order_and_are_acknowledged(log: Log, collector: RudeCollector) -> None:
    write(log, 100)
    stored = log.read(1, 100, MIB)
    async with running(log, collector.address):
        await all_acknowledged(log)
    assert collector.ledger.frames == stored
    assert collector.ledger.said == 100


@in_trio
async def test_hello_says_who_we_are_and_what_we_hold(log: Log, collector: RudeCollector) -> None:
    write(log, 7)
    log.acknowledge(2, 1)
    log.trim(2)
    collector.manners.mute = True
    async with running(log, collector.address):
        await until(lambda: collector.hellos)
    hello = collector.hellos[0]
    assert (hello.host_id, hello.epoch, hello.daemon_version) == (HOST, log.epoch, "0.test")
    assert (hello.first_seq, hello.last_seq, hello.frame_format) == (3, 7, 1)


@in_trio
async def test_a_host_with_nothing_to_say_connects_to_nobody(log: Log, collector: RudeCollector) -> None:
    async with running(log, collector.address) as uplink:
        await trio.sleep(0.2)
        assert uplink.status().state == "quiet"
        uplink.wake()
        await trio.sleep(0.1)
        assert uplink.status().state == "quiet"
    assert collector.hellos == []


@in_trio
async def test_an_idle_stream_lingers_says_goodbye_and_opens_again_for_new_frames(
    log: Log, collector: RudeCollector
) -> None:
    write(log, 3)
    async with running(log, collector.address, linger_s=0.3) as uplink:
        await all_acknowledged(log)
        assert uplink.status().state == "streaming"
        await until(lambda: uplink.status().state == "quiet")
        assert (len(collector.hellos), collector.goodbyes, collector.live) == (1, 1, 0)
        write(log, 2)
        uplink.wake()
        await all_acknowledged(log)
    assert seqs(collector) == [1, 2, 3, 4, 5]
    assert len(collector.hellos) == 2


@in_trio
async def test_frames_written_while_a_stream_is_open_go_out_on_it(log: Log, collector: RudeCollector) -> None:
    write(log, 1)
    async with running(log, collector.address, linger_s=float("inf")) as uplink:
        for _ in range(2):
            await all_acknowledged(log)
            await trio.sleep(1.1)  # longer than the deadline for an acknowledgement
            write(log, 2)
            uplink.wake()
        await all_acknowledged(log)
        assert uplink.status().state == "streaming"
    assert (len(collector.hellos), collector.ledger.cursor) == (1, 5)


@in_trio
async def test_being_quiet_costs_no_cpu(log: Log, collector: RudeCollector) -> None:
    write(log, 5)
    async with running(log, collector.address, linger_s=0) as uplink:
        await all_acknowledged(log)
        await until(lambda: uplink.status().state == "quiet")
        collector.stop()
        await trio.sleep(0.3)
        before_s = time.process_time()
        await trio.sleep(1.0)
        spent_s = time.process_time() - before_s
        collector.start()
    assert spent_s < 0.02


@in_trio
async def test_a_collector_that_comes_and_goes_loses_and_doubles_nothing(log: Log, collector: RudeCollector) -> None:
    collector.manners.ack_after_s = 0.001
    async with running(log, collector.address) as uplink:
        for _ in range(4):
            write(log, 60)
            uplink.wake()
            await trio.sleep(0.05)
            collector.stop()
            await trio.sleep(0.05)
            collector.start()
        await all_acknowledged(log)
    assert seqs(collector) == list(range(1, 241))


@in_trio
async def test_what_was_committed_but_not_acknowledged_is_known_from_the_next_welcome(
    log: Log, collector: RudeCollector
) -> None:
    write(log, 4)
    collector.manners.commit_only = True
    async with running(log, collector.address):
        await until(lambda: collector.ledger.cursor == 4)
        collector.manners.commit_only = False
        await all_acknowledged(log)
    assert seqs(collector) == [1, 2, 3, 4]
    assert collector.ledger.said == 4


@pytest.mark.parametrize("manners", [{"ack_every": 8}, {"ack_twice": True}, {"ack_after_s": 0.02, "ack_every": 4}])
@in_trio
async def test_late_few_and_doubled_acknowledgements_are_all_the_same(
    log: Log, collector: RudeCollector, manners: dict[str, Any]
) -> None:
    for name, value in manners.items():
        setattr(collector.manners, name, value)
    write(log, 64)
    async with running(log, collector.address):
        await all_acknowledged(log)
    assert seqs(collector) == list(range(1, 65))


@pytest.mark.parametrize(("frames", "size_bytes"), [(4, MIB), (100, 2_000), (0, 0)])
@in_trio
async def test_the_window_is_never_exceeded(log: Log, collector: RudeCollector, frames: int, size_bytes: int) -> None:
    most = max(1, min(frames, size_bytes // 400))
    collector.manners.window_frames, collector.manners.window_bytes = frames, size_bytes
    collector.manners.ack_every = most
    write(log, most * 10)
    async with running(log, collector.address):
        await all_acknowledged(log)
    assert collector.most_unacknowledged == most


@in_trio
async def test_a_frame_that_got_lost_is_said_again_from_there(log: Log, collector: RudeCollector) -> None:
    collector.manners.lose_once = {5, 17, 18}
    write(log, 40)
    async with running(log, collector.address):
        await all_acknowledged(log)
    assert seqs(collector) == list(range(1, 41))
    assert len(collector.hellos) == 1


@in_trio
async def test_a_frame_that_the_collector_refuses_stops_nothing_and_is_told_once(
    log: Log, collector: RudeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.manners.reject = {3, 9}
    write(log, 12)
    async with running(log, collector.address) as uplink:
        await all_acknowledged(log)
        write(log, 3)
        await until(lambda: uplink.status().state == "quiet")
        uplink.wake()
        await all_acknowledged(log)
    assert log.stat().rejected_frames == 2
    assert [record.levelname for record in caplog.records].count("ERROR") == 2
    assert len(collector.hellos) == 2


@in_trio
async def test_a_collector_that_takes_frames_and_never_acknowledges_is_given_up_in_time(
    log: Log, collector: RudeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.manners.deaf = True
    write(log, 3)
    async with running(log, collector.address) as uplink:
        # Not the status: the next Welcome, which may come at once, tells that it has them.
        await until(lambda: "no acknowledgement within" in caplog.text)
        collector.manners.deaf = False
        await all_acknowledged(log)
        await until(lambda: uplink.status().last_error is None)
    assert seqs(collector) == [1, 2, 3]


@in_trio
async def test_a_collector_that_never_answers_hello_is_given_up_in_time(log: Log, collector: RudeCollector) -> None:
    collector.manners.mute = True
    write(log, 3)
    async with running(log, collector.address) as uplink:
        await until(lambda: "no welcome within 1 s" in (uplink.status().last_error or ""))


@in_trio
async def test_a_collector_that_stalls_at_the_goodbye_is_told_as_that_and_not_as_our_own_cancelling(
    log: Log, collector: RudeCollector
) -> None:
    collector.manners.clinging = True
    write(log, 1)
    async with running(log, collector.address) as uplink:
        await until(lambda: collector.goodbyes)
        write(log, 1)
        uplink.wake()
        await until(lambda: uplink.status().last_error)
        assert "no acknowledgement and no goodbye within 0.5 s" in (uplink.status().last_error or "")
        collector.manners.clinging = False
        await all_acknowledged(log)


@in_trio
async def test_a_link_that_is_half_open_is_noticed_and_replaced(log: Log, collector: RudeCollector) -> None:
    proxy = Proxy(collector.port)
    async with running(log, proxy.address, linger_s=float("inf")) as uplink:
        write(log, 2)
        uplink.wake()
        await all_acknowledged(log)
        proxy.freeze()
        write(log, 2)
        uplink.wake()
        await until(lambda: uplink.status().state in ("backoff", "connecting"))
        proxy.thaw()
        await all_acknowledged(log)
    proxy.close()
    assert seqs(collector) == [1, 2, 3, 4]


@in_trio
async def test_a_goodbye_of_the_collector_is_no_loss(log: Log, collector: RudeCollector) -> None:
    collector.manners.leave_after = 5
    write(log, 23)
    async with running(log, collector.address):
        await all_acknowledged(log)
    assert seqs(collector) == list(range(1, 24))


@in_trio
async def test_a_ledger_restored_from_a_backup_is_filled_up_again(log: Log, collector: RudeCollector) -> None:
    write(log, 10)
    async with running(log, collector.address, linger_s=0) as uplink:
        await all_acknowledged(log)
        await until(lambda: uplink.status().state == "quiet")
        whole = collector.ledger.frames[:]
        del collector.ledger.frames[4:]
        write(log, 1)
        uplink.wake()
        await until(lambda: collector.ledger.cursor == 11)
        await all_acknowledged(log)
    assert collector.ledger.frames[:10] == whole


async def see_fork(log: Log, collector: RudeCollector, why: str) -> None:
    """Nothing of the epoch is said or trimmed any more; what is held goes on in the next."""
    epoch, said = log.epoch, collector.ledger.said
    held = [read_frame(raw).payload() for raw in log.read(1, 99, MIB)]
    async with running(log, collector.address) as uplink:
        await until(lambda: uplink.status().forks)
        last = uplink.status().last_fork
        assert last is not None and why in last.why
        assert (last.epoch, last.next_epoch) == (epoch.hex(), log.epoch.hex()) and log.epoch != epoch
        await all_acknowledged(log)
        await until(lambda: uplink.status().state == "quiet")
    assert collector.ledger.said == said
    first, *frames = map(read_frame, collector.later[log.epoch].frames)
    told = usage_pb2.Batch.FromString(first.payload()).predecessor
    assert (told.epoch, told.reason) == (epoch, "fork")
    assert [frame.payload() for frame in frames] == held


@in_trio
async def test_a_collector_that_sees_a_fork_in_every_epoch_is_believed_only_a_few_times_an_hour(
    log: Log, collector: RudeCollector
) -> None:
    write(log, 5)
    collector.manners.head_hash, collector.manners.lies_for_ever = b"x" * 32, True
    async with running(log, collector.address) as uplink:
        await until(lambda: uplink.status().state == "forked")
        uplink.wake()
        await trio.sleep(0.2)
        assert not await uplink.drain(0.2)
        assert (uplink.status().state, uplink.status().forks) == ("forked", MOST_EPOCHS_AN_HOUR + 1)
    assert len({hello.epoch for hello in collector.hellos}) == MOST_EPOCHS_AN_HOUR + 1
    assert log.stat().acked_seq == 0
    assert len(list((log_folder(log) / "quarantine").iterdir())) <= 2


def log_folder(log: Log) -> Path:
    return log._opened.folder


@in_trio
async def test_a_collector_that_has_another_frame_in_the_same_place_is_a_fork(
    log: Log, collector: RudeCollector
) -> None:
    write(log, 5)
    collector.ledger.frames = log.read(1, 3, MIB)
    collector.manners.head_hash = b"x" * 32
    await see_fork(log, collector, "frame 3 of the collector is another")


@in_trio
async def test_a_collector_that_has_more_than_was_ever_written_is_a_fork(log: Log, collector: RudeCollector) -> None:
    write(log, 5)
    collector.ledger.frames = [*log.read(1, 5, MIB), b"from a later life of this host's disk"]
    collector.manners.head_hash = b"x" * 32
    await see_fork(log, collector, "this log ends at 5")


@in_trio
async def test_a_collector_that_lost_what_is_trimmed_here_hears_so_and_gets_the_rest(
    log: Log, collector: RudeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    write(log, 5)
    log.acknowledge(4, 1)
    log.trim(2)
    write(log, 2)
    async with running(log, collector.address):
        await all_acknowledged(log)
    skip, *rest = map(read_frame, collector.ledger.frames)
    assert skip.skip is not None and (skip.first_seq, skip.seq, skip.skip.reason) == (1, 4, "trimmed")
    assert [frame.seq for frame in rest] == [5, 6, 7]
    assert rest[0].previous_hash == skip.chain_hash
    assert "frames 1 to 4 are gone on both sides" in caplog.text


@in_trio
async def test_what_a_full_log_dropped_is_said_as_one_skip(log: Log, collector: RudeCollector) -> None:
    write(log, 100)
    log.append_over([Entry(1, b"new")], lambda frames: ([], b"checkpoint"))
    async with running(log, collector.address):
        await all_acknowledged(log)
    skip, *rest = map(read_frame, collector.ledger.frames)
    assert skip.skip is not None and skip.skip.reason == "buffer_full" and skip.first_seq == 1
    assert [frame.seq for frame in rest] == list(range(skip.seq + 1, 102))


@in_trio
async def test_a_host_that_is_refused_says_so_keeps_its_frames_and_tries_again(
    log: Log, collector: RudeCollector
) -> None:
    collector.manners.refuse = (grpc.StatusCode.ALREADY_EXISTS, "HostIdInUse: gpu-01 streams already")
    write(log, 5)
    async with running(log, collector.address) as uplink:
        await until(lambda: uplink.status().state == "refused")
        assert "HostIdInUse" in (uplink.status().last_error or "")
        collector.manners.refuse = None
        await all_acknowledged(log)
    assert seqs(collector) == [1, 2, 3, 4, 5]


@in_trio
async def test_the_next_endpoint_is_taken_when_the_first_is_down(log: Log, collector: RudeCollector) -> None:
    write(log, 5)
    async with running(log, f"localhost:{free_port()}", collector.address) as uplink:
        await all_acknowledged(log)
        assert uplink.status().endpoint == collector.address


@in_trio
async def test_an_unreachable_collector_is_one_line_in_the_log_not_one_for_each_attempt(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    collector = RudeCollector()
    collector.stop()
    write(log, 5)
    async with running(log, collector.address) as uplink:
        await until(lambda: uplink.status().state == "backoff")
        await trio.sleep(0.5)
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 1
        assert collector.address in lines[0]
        assert "connection refused" in lines[0]
        collector.start()
        await all_acknowledged(log)
    assert [record.getMessage() for record in caplog.records][1:] == [f"streaming to {collector.address}"]
    collector.stop()


@in_trio
async def test_without_an_endpoint_frames_stay_on_disk(log: Log) -> None:
    write(log, 5)
    async with running(log) as uplink:
        await trio.sleep(0.05)
        assert (uplink.status().state, uplink.status().endpoint) == ("quiet", None)
        assert not await uplink.drain(0.5)


@in_trio
async def test_a_drain_brings_out_everything_and_ends_the_uplink(log: Log, collector: RudeCollector) -> None:
    write(log, 200)
    collector.manners.ack_after_s = 0.001
    async with running(log, collector.address, linger_s=60) as uplink:
        assert await uplink.drain(10)
    assert collector.ledger.cursor == 200
    assert collector.goodbyes == 1


@in_trio
async def test_a_drain_ends_at_its_deadline_when_nobody_answers(log: Log) -> None:
    write(log, 5)
    async with running(log, f"localhost:{free_port()}", pace=Pace()) as uplink:
        began_s = trio.current_time()
        assert not await uplink.drain(0.6)
        assert trio.current_time() - began_s < 1.5


@in_trio
async def test_a_damaged_frame_is_not_hidden(tmp_path: Path, collector: RudeCollector) -> None:
    folder = tmp_path / "log"
    log = Log.open(folder, HOST, MIB)
    write(log, 5, payload_bytes=1_000)
    raw = log.read(3, 1, MIB)[0]
    # While it is open: at the next opening it would be found, and the log begun anew.
    with (folder / "data.mdb").open("r+b") as file:
        last = file.read().index(raw) + len(raw) - 1
        file.seek(last)
        file.write(bytes([raw[-1] ^ 1]))
    with pytest.raises(LogBroken, match="frame 3"):
        await Uplink(
            log,
            UplinkConfig(endpoints=(collector.address,), insecure_plaintext=True),
            HOST,
            "0.test",
            WriterThread(),
            pace=FAST,
        ).run()
    log.close()
    assert len(collector.ledger.frames) <= 2


@in_trio
async def test_who_asks_hears_how_far_the_collector_is(log: Log, collector: RudeCollector) -> None:
    heard: list[int] = []
    write(log, 20)
    settings = UplinkConfig(endpoints=(collector.address,), insecure_plaintext=True, linger_s=0)
    uplink = Uplink(log, settings, HOST, "0.test", WriterThread(), heard.append, pace=FAST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uplink.run)
        assert uplink.status().last_ack_age_s is None
        assert await uplink.drain(10)
    assert heard == sorted(heard)
    assert heard[-1] == 20
    age_s = uplink.status().last_ack_age_s
    assert age_s is not None
    assert 0 <= age_s < 10


@pytest.mark.parametrize("seed", [1, 2, pytest.param(None, marks=pytest.mark.long)])
@in_trio
async def test_whatever_goes_wrong_in_whatever_order_every_frame_arrives_once(
    log: Log, collector: RudeCollector, seed: int | None
) -> None:
    luck = random.Random(seed)
    written = 0
    async with running(log, collector.address, linger_s=0.02) as uplink:
        for _ in range(30 if seed else 150):
            count = luck.randrange(1, 20)
            write(log, count)
            written += count
            uplink.wake()
            misbehave(collector, luck, written)
            await trio.sleep(luck.random() * 0.05)
        collector.manners = type(collector.manners)()
        await all_acknowledged(log)
    assert seqs(collector) == list(range(1, written + 1))


def misbehave(collector: RudeCollector, luck: random.Random, newest: int) -> None:
    manners = type(collector.manners)(
        window_frames=luck.randrange(1, 20),
        ack_every=luck.choice([1, 1, 3]),
        ack_twice=luck.random() < 0.3,
        break_after=luck.choice([None, None, luck.randrange(1, 30)]),
        leave_after=luck.choice([None, None, luck.randrange(1, 30)]),
        commit_only=luck.random() < 0.1,
        deaf=luck.random() < 0.05,
        lose_once={luck.randrange(1, newest + 1) for _ in range(2)},
        refuse=(grpc.StatusCode.UNAVAILABLE, "told to refuse") if luck.random() < 0.1 else None,
    )
    collector.manners = manners
    if luck.random() < 0.1:
        collector.stop()
        collector.start()


@in_trio
async def test_a_log_that_is_begun_anew_under_a_stream_is_said_from_its_start_on_another(
    log: Log, collector: RudeCollector
) -> None:
    write(log, 20)
    collector.manners.ack_after_s = 0.1
    async with running(log, collector.address) as uplink:
        await until(lambda: collector.ledger.said)
        log.begin_epoch("damage")
        frames = log.read(1, 100, MIB)
        uplink.wake()
        collector.manners.ack_after_s = 0.0
        await all_acknowledged(log)
        assert uplink.status().forks == 0
    assert collector.later[log.epoch].frames == frames
    assert [hello.epoch for hello in collector.hellos][1:] == [log.epoch]


@pytest.mark.parametrize("committed_seq", [0, 3])
def test_a_welcome_to_the_epoch_before_is_no_fork_of_a_log_begun_anew(committed_seq: int, log: Log) -> None:
    write(log, 5)
    head_hash = log.head_hash(committed_seq)
    assert head_hash is not None
    stream = Stream(log, hello(log.stat(), HOST, "0.test"), Opened(0, 5), lambda: None, lambda _: None)
    log.begin_epoch("damage")
    welcome = wire.Welcome(committed_seq=committed_seq, head_hash=head_hash, window_frames=8, window_bytes=MIB)
    stream._hear(wire.CollectorMessage(welcome=welcome))
    assert (stream.talk.progress().fork, stream.talk.progress().welcomed, stream.talk.orders()) == (None, False, [])


def test_no_frame_of_a_log_begun_anew_goes_out_on_the_stream_of_the_epoch_before(log: Log) -> None:
    write(log, 20)
    head_hash = log.head_hash(0)
    assert head_hash is not None
    stream = Stream(log, hello(log.stat(), HOST, "0.test"), Opened(0, 20), lambda: None, lambda _: None)
    requests = map(wire.HostMessage.FromString, stream._requests())
    assert next(requests).hello.epoch == log.epoch
    welcome = wire.Welcome(head_hash=head_hash or b"", window_frames=2, window_bytes=MIB)
    stream._hear(wire.CollectorMessage(welcome=welcome))
    said = [read_frame(next(requests).frame).seq for _ in range(2)]
    log.begin_epoch("damage")
    stream._hear(wire.CollectorMessage(ack=wire.Ack(through_seq=2)))
    assert said == [1, 2]
    assert next(requests).HasField("goodbye")


@in_trio
async def test_a_collector_that_only_says_again_what_it_refused_long_ago_does_not_look_healthy(log: Log) -> None:
    write(log, 5)
    heard: list[int] = []
    uplink = Uplink(log, UplinkConfig(), HOST, "0.test", WriterThread(), heard.append, pace=FAST)
    uplink._situation.failed("here:1", Trouble("its disk is full"))
    for orders in ([Bury(2, "bad")], [Acknowledge(3)]):
        for again in (False, True):
            uplink._situation.failed("here:1", Trouble("its disk is full"))
            uplink._backoff.next_s()
            await uplink.keep([*orders], log.epoch)
            assert (uplink._backoff._failures, uplink.status().last_error is not None) == (int(again), again)
    assert heard == [2, 3]
    await uplink.keep([Acknowledge(4)], b"of the epoch before")
    assert (heard, uplink.status().last_error is not None) == ([2, 3], True)


@in_trio
async def test_a_daemon_that_stops_while_its_disk_is_away_ends_its_uplink_without_a_crash(
    log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(log, 1)
    (tmp_path / "log" / "data.mdb").rename(tmp_path / "away")
    with pytest.raises(LogBroken):
        log.reopen()
    assert not await Uplink(log, UplinkConfig(), HOST, "0.test", WriterThread(), pace=FAST).drain(0.05)
    assert "whether everything was delivered cannot be told" in caplog.text


@in_trio
async def test_a_refused_frame_for_which_a_full_log_has_no_room_is_not_said_to_be_kept(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LogFull):
        while True:
            write(log, 20, 3_000)
    with pytest.raises(LogFull):
        while True:
            write(log, 1, 3_000)
    uplink = Uplink(log, UplinkConfig(), HOST, "0.test", WriterThread(), pace=FAST)
    await uplink.keep([Bury(1, "bad")], log.epoch)
    assert "frame 1 was refused by the collector (bad) and is NOT kept aside" in caplog.text
