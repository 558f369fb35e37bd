"""The stream as a host sees it, against a real collector over real gRPC."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest

from gputally.model.interval import Interval
from gputally.proto.convert import encode_batch
from gputally.proto.v1 import health_pb2, health_pb2_grpc
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.simulator.stream import SimulatedHost, chain
from gputally.simulator.uplink import Conversation, StreamEnded, deliver
from gputally.storage.frame import Frame, genesis_hash, make_frame, make_skip
from gputally.storage.skip import Skip

from .running import HOUR_NS, JUNE_NS, RunningCollector

COUNTER = iter(range(1, 10_000))


def host_with_frames(frames: int) -> tuple[SimulatedHost, list[Frame]]:
    """A host of its own and so many frames, one window each."""
    number = next(COUNTER)
    host = SimulatedHost(f"host-{os.getpid()}-{number}")
    host.hold(f"nvidia:GPU-{number}", "NVIDIA L40", "A", Interval(JUNE_NS, JUNE_NS + HOUR_NS))
    whole = next(host.batches())
    batches = [replace(whole, records=(r,), rows=(w,)) for r, w in zip(whole.records, whole.rows, strict=True)]
    return host, list(chain(host.host_id, host.epoch, batches[:frames]))


def state_of(collector: RunningCollector, host: SimulatedHost) -> dict[str, object]:
    collector.wait_until_folded()
    items = collector.ask("/v1/hosts", limit=1000).json()["items"]
    found: dict[str, object] = next((item for item in items if item["host"] == host.host_id), {})
    return found


def test_a_new_stream_is_welcomed_at_its_genesis(shared_collector: RunningCollector) -> None:
    host, _ = host_with_frames(1)
    with Conversation(shared_collector.intake) as said:
        welcome = said.hello(host.host_id, host.epoch)
    assert (welcome.committed_seq, welcome.head_hash) == (0, genesis_hash(host.host_id, host.epoch))
    assert welcome.ledger_id and welcome.window_frames > 0 and welcome.window_bytes > 0
    assert abs(welcome.server_time_ns - time.time_ns()) < 60 * 10**9


def test_what_was_acknowledged_is_where_the_next_stream_goes_on(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(5)
    delivered = deliver(shared_collector.intake, host.host_id, host.epoch, frames[:3])
    assert delivered.through_seq == 3
    with Conversation(shared_collector.intake) as said:
        welcome = said.hello(host.host_id, host.epoch)
    assert (welcome.committed_seq, welcome.head_hash) == (3, frames[2].hash)
    assert deliver(shared_collector.intake, host.host_id, host.epoch, frames).frames == 2


def test_a_stream_delivered_three_times_is_there_once_and_replays_are_counted(
    shared_collector: RunningCollector,
) -> None:
    host, frames = host_with_frames(6)
    for count in (3, 6):
        with Conversation(shared_collector.intake) as said:
            said.hello(host.host_id, host.epoch)
            for frame in [*frames[:count], *frames[:count]]:
                said.send(frame.to_bytes())
            said.hear_ack(count)
            said.goodbye()
            with pytest.raises(StreamEnded, match="OK"):
                while True:
                    said.hear()
    state = state_of(shared_collector, host)
    assert (state["records"], state["duplicates"], state["replayed_frames"]) == (6, 0, 12)


def test_a_frame_out_of_order_is_answered_resume_once_and_not_stored(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(5)
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        for frame in (frames[0], frames[2], frames[3], frames[4]):
            said.send(frame.to_bytes())
        heard = [said.hear()]
        while heard[-1].WhichOneof("kind") != "resume":
            heard.append(said.hear())
        assert heard[-1].resume.next_seq == 2
        for frame in frames[1:]:
            said.send(frame.to_bytes())
        after = said.hear_ack(5)
    assert "resume" not in {message.WhichOneof("kind") for message in after}
    assert state_of(shared_collector, host)["records"] == 5


def test_another_history_is_a_fork_and_ends_the_stream(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(3)
    deliver(shared_collector.intake, host.host_id, host.epoch, frames[:2])
    forged = make_frame(host.epoch, 3, b"another past" + b"." * 20, 0, frames[2].payload())
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        said.send(forged.to_bytes())
        with pytest.raises(StreamEnded, match="fork: frame 3") as ended:
            said.hear()
    assert ended.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "fork" in shared_collector.log.read_text()
    assert deliver(shared_collector.intake, host.host_id, host.epoch, frames).through_seq == 3


def test_a_frame_of_another_epoch_is_refused(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(1)
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, b"another epoch..."[:16])
        said.send(frames[0].to_bytes())
        with pytest.raises(StreamEnded, match="is of epoch"):
            said.hear()


def poisoned(host: SimulatedHost, kind: str, good: Frame) -> Frame:
    payload = {
        "not a batch": b"\xff" * 40,
        "host": encode_batch(next(SimulatedHost("somebody-else", uses=host.uses).batches())),
    }[kind]
    return make_frame(good.epoch, good.seq, good.previous_hash, 1, payload)


def rejections(said: Conversation, count: int) -> list[int]:
    """The next so many; acknowledgements between them are passed over."""
    seqs: list[int] = []
    while len(seqs) < count:
        if (message := said.hear()).WhichOneof("kind") == "reject":
            seqs.append(message.reject.seq)
    return seqs


def test_all_rejections_of_what_a_host_still_holds_are_said_again_before_any_new_one(
    shared_collector: RunningCollector,
) -> None:
    host, count = host_with_frames(1)[0], 250
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        for number in range(count):
            said.send(b"garbage %d" % number)
        said.hear_ack(count)
    with Conversation(shared_collector.intake) as said:
        assert said.hello(host.host_id, host.epoch, first_seq=11).committed_seq == count
        said.send(b"more garbage")
        assert rejections(said, count - 9) == list(range(11, count + 2))


@pytest.mark.parametrize("kind", ["not a batch", "host"])
def test_a_poison_frame_becomes_a_tombstone_and_those_behind_it_pass(
    shared_collector: RunningCollector, kind: str
) -> None:
    host, frames = host_with_frames(3)
    poison = poisoned(host, kind, frames[0])
    behind = make_frame(host.epoch, 2, poison.hash, 1, frames[1].payload())
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        said.send(poison.to_bytes())
        said.send(behind.to_bytes())
        heard = said.hear_ack(2)
    rejected = [message.reject for message in heard if message.HasField("reject")]
    assert [each.seq for each in rejected] == [1] and kind in rejected[0].reason
    state = state_of(shared_collector, host)
    assert (state["records"], state["rejected_frames"]) == (1, 1)


def test_bytes_that_are_no_frame_take_the_place_they_were_said_in(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(2)
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        said.send(frames[0].to_bytes())
        said.send(b"no frame at all")
        heard = said.hear_ack(2)
    assert [message.reject.seq for message in heard if message.HasField("reject")] == [2]


def test_a_host_that_missed_a_rejection_hears_it_again(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(1)
    poison = poisoned(host, "not a batch", frames[0])
    deliver(shared_collector.intake, host.host_id, host.epoch, [poison])
    with Conversation(shared_collector.intake) as said:
        assert said.hello(host.host_id, host.epoch, first_seq=1, last_seq=1).committed_seq == 1
        assert said.hear().reject.seq == 1


def test_a_second_live_stream_of_one_host_is_refused_and_the_first_lives_on(
    shared_collector: RunningCollector,
) -> None:
    host, frames = host_with_frames(1)
    with Conversation(shared_collector.intake) as first:
        first.hello(host.host_id, host.epoch)
        with (
            Conversation(shared_collector.intake) as second,
            pytest.raises(StreamEnded, match="HostIdInUse") as ended,
        ):
            second.hello(host.host_id, os.urandom(16))
        assert ended.value.code is grpc.StatusCode.ALREADY_EXISTS
        first.send(frames[0].to_bytes())
        first.hear_ack(1)


def test_a_host_that_went_away_without_goodbye_may_come_back_at_once(shared_collector: RunningCollector) -> None:
    host, _ = host_with_frames(1)
    for _ in range(5):
        with Conversation(shared_collector.intake) as said:
            said.hello(host.host_id, host.epoch)


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (wire.Hello(host_id="", epoch=b"e" * 16, frame_format=1), grpc.StatusCode.INVALID_ARGUMENT),
        (wire.Hello(host_id="h\n", epoch=b"e" * 16, frame_format=1), grpc.StatusCode.INVALID_ARGUMENT),
        (wire.Hello(host_id="h" * 256, epoch=b"e" * 16, frame_format=1), grpc.StatusCode.INVALID_ARGUMENT),
        (wire.Hello(host_id="h", epoch=b"short", frame_format=1), grpc.StatusCode.INVALID_ARGUMENT),
        (wire.Hello(host_id="h", epoch=b"e" * 16, frame_format=2), grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_a_hello_that_cannot_be_served_is_refused(
    shared_collector: RunningCollector, hello: wire.Hello, code: grpc.StatusCode
) -> None:
    with Conversation(shared_collector.intake) as said:
        said.say(wire.HostMessage(hello=hello))
        with pytest.raises(StreamEnded) as ended:
            said.hear()
    assert ended.value.code is code


def test_a_frame_before_hello_is_refused(shared_collector: RunningCollector) -> None:
    with Conversation(shared_collector.intake) as said:
        said.send(b"")
        with pytest.raises(StreamEnded, match="must be hello"):
            said.hear()


def test_a_message_beyond_the_limit_is_refused_and_others_are_served(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(1)
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        said.send(b"." * 5_000_000)
        with pytest.raises(StreamEnded):
            said.hear()
    assert deliver(shared_collector.intake, host.host_id, host.epoch, frames).through_seq == 1


def test_a_skip_takes_the_place_of_its_range_and_is_counted(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(6)
    skip = make_skip(host.epoch, 4, frames[0].hash, Skip(2, frames[3].hash, "buffer_full"))
    told = [frames[0], skip, *frames[4:]]
    assert deliver(shared_collector.intake, host.host_id, host.epoch, told).through_seq == 6
    state = state_of(shared_collector, host)
    assert (state["records"], state["skipped_frames"], state["rejected_frames"]) == (3, 3, 0)


def test_a_skip_beyond_all_numbers_is_rejected_and_those_behind_it_pass(shared_collector: RunningCollector) -> None:
    host, frames = host_with_frames(2)
    forged = make_skip(host.epoch, 2**64 - 1, frames[0].hash, Skip(2, b"h" * 32, "buffer_full"))
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        said.send(frames[0].to_bytes())
        said.send(forged.to_bytes())
        heard = said.hear_ack(2)
    (reject,) = [message.reject for message in heard if message.HasField("reject")]
    assert reject.seq == 2 and "which no host has written" in reject.reason


def test_a_flood_of_tiny_frames_is_taken_at_the_collectors_pace_and_others_are_served(
    shared_collector: RunningCollector,
) -> None:
    """The window holds: what is not read yet waits at the host, in gRPC's flow control."""
    host, frames = host_with_frames(1)
    other, others = host_with_frames(20)
    before_kib = shared_collector.memory_kib()
    with Conversation(shared_collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        for _ in range(50_000):
            said.send(frames[0].to_bytes())
        assert deliver(shared_collector.intake, other.host_id, other.epoch, others).through_seq == 20
        said.hear_ack(1)
        assert shared_collector.memory_kib() - before_kib < 64 * 1024
    assert state_of(shared_collector, other)["records"] == 20


def test_many_hosts_at_once_share_commits_and_each_is_acknowledged(shared_collector: RunningCollector) -> None:
    hosts = [host_with_frames(20) for _ in range(12)]

    def bring(each: tuple[SimulatedHost, list[Frame]]) -> int:
        return deliver(shared_collector.intake, each[0].host_id, each[0].epoch, each[1]).through_seq

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(bring, hosts)) == [20] * 12
    for host, _ in hosts:
        assert state_of(shared_collector, host)["records"] == 20


def test_the_standard_health_service_answers(shared_collector: RunningCollector) -> None:
    with grpc.insecure_channel(shared_collector.intake) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "gputally.v1.Uplink"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError, match="no service"):
            health.Check(health_pb2.HealthCheckRequest(service="elsewhere"), timeout=10)
        first = next(iter(health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=10)))
        assert first.status == health_pb2.HealthCheckResponse.SERVING


def test_on_sigterm_streams_are_acknowledged_and_told_goodbye(collector: RunningCollector) -> None:
    host, frames = host_with_frames(10)
    with Conversation(collector.intake) as said:
        said.hello(host.host_id, host.epoch)
        for frame in frames:
            said.send(frame.to_bytes())
        said.hear_ack(10)
        began = time.monotonic()
        collector.signal(15)
        assert said.hear().goodbye.reason == "the collector is stopping"
        with pytest.raises(StreamEnded, match="OK"):
            said.hear()
    assert collector.wait() == 0
    assert time.monotonic() - began < 8


STUCK = """
import sys
from gputally.simulator.uplink import Conversation
with Conversation(sys.argv[1]) as said:
    said.hello(sys.argv[2], b"e" * 16)
    print("welcome", flush=True)
    said.hear()
"""


@pytest.mark.long
def test_the_name_of_a_host_that_hangs_is_free_again_within_half_a_minute(shared_collector: RunningCollector) -> None:
    """Its kernel still holds the connection, but nobody answers pings."""
    command = [sys.executable, "-c", STUCK, shared_collector.intake, "gpu-stuck"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None and host.stdout.readline() == "welcome\n"
        host.send_signal(signal.SIGSTOP)
        began, refusals = time.monotonic(), 0
        while True:
            try:
                with Conversation(shared_collector.intake) as said:
                    said.hello("gpu-stuck", b"e" * 16)
                break
            except StreamEnded as ended:
                assert ended.code is grpc.StatusCode.ALREADY_EXISTS
                refusals += 1
        host.kill()
    assert refusals and time.monotonic() - began < 30
