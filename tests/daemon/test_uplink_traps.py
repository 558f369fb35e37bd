"""What others lost months to in gRPC and its ways; each by name."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio

from gputally.collector import intake
from gputally.daemon import uplink_channel
from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import WriterThread
from gputally.daemon.uplink import Uplink
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.proto.v1.uplink_pb2_grpc import UplinkStub
from gputally.storage.frame import MAX_PAYLOAD_BYTES
from gputally.storage.wal import Log

from ..collector.running import RunningCollector, write_config
from .rude_collector import RudeCollector
from .test_uplink import FAST, HOST, MIB, all_acknowledged, in_trio, running, seqs, until, write

CLIENT: dict[str, Any] = dict(uplink_channel.CHANNEL_OPTIONS)
SERVER: dict[str, Any] = dict(intake._OPTIONS)


def test_a_keepalive_alone_finds_no_half_open_link_so_pings_time_out_too() -> None:
    """``test_a_link_that_is_half_open_is_noticed_and_replaced`` shows it on a link; here are the defaults."""
    longest_ms = CLIENT["grpc.keepalive_time_ms"] + CLIENT["grpc.http2.ping_timeout_ms"]
    assert longest_ms <= 30_000, "a stuck stream is to be noticed within 30 s"
    assert SERVER["grpc.keepalive_time_ms"] + SERVER["grpc.http2.ping_timeout_ms"] <= 30_000


def test_the_collector_permits_the_pings_that_hosts_send() -> None:
    """Otherwise it answers them with GOAWAY too_many_pings."""
    assert SERVER["grpc.http2.min_recv_ping_interval_without_data_ms"] < CLIENT["grpc.keepalive_time_ms"]
    assert SERVER["grpc.keepalive_permit_without_calls"] == 1
    assert CLIENT["grpc.http2.max_pings_without_data"] == SERVER["grpc.http2.max_pings_without_data"] == 0


def test_frames_are_far_below_the_limits_that_both_sides_set() -> None:
    for options in (CLIENT, SERVER):
        for way in ("send", "receive"):
            assert options[f"grpc.max_{way}_message_length"] >= 4 * MAX_PAYLOAD_BYTES


def test_nothing_is_compressed_on_the_wire() -> None:
    """What inflates before a limit is looked at is a bomb; and a frame is compressed already."""
    assert "grpc.default_compression_algorithm" not in CLIENT | SERVER


def test_each_stream_has_a_connection_of_its_own_and_the_retries_are_ours() -> None:
    assert CLIENT["grpc.use_local_subchannel_pool"] == 1
    assert CLIENT["grpc.enable_retries"] == 0


def test_grpcs_fork_handlers_are_off_before_it_is_imported() -> None:
    """They stall a process that starts children beside a channel, as this daemon does."""
    ask = "import gputally.daemon, os, sys; print(os.environ['GRPC_ENABLE_FORK_SUPPORT'], 'grpc' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}
    told = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["0", "False"]


@in_trio
async def test_what_fails_inside_the_request_iterator_ends_the_stream_with_its_cause(tmp_path: Path) -> None:
    """gRPC would hide it, and the stream would stand still for ever."""
    collector = RudeCollector()
    log = Log.open(tmp_path / "log", HOST, 4 * MIB)
    write(log, 3)
    read = log.read
    try:
        log.read = _failing  # type: ignore[method-assign, assignment]
        async with running(log, collector.address) as uplink:
            await until(lambda: "RuntimeError: out of luck" in (uplink.status().last_error or ""))
            log.read = read  # type: ignore[method-assign]
            await all_acknowledged(log)
    finally:
        log.close()
        collector.stop()
    assert seqs(collector) == [1, 2, 3]


def _failing(*_: object) -> list[bytes]:
    raise RuntimeError("out of luck")


@in_trio
async def test_a_channel_that_blocks_when_it_is_closed_is_left_to_its_thread(tmp_path: Path) -> None:
    log = Log.open(tmp_path / "log", HOST, MIB)
    released = threading.Event()

    class Clinging:
        def close(self) -> None:
            released.wait(10)

    uplink = Uplink(log, UplinkConfig(), HOST, "0.test", WriterThread(), pace=FAST)
    began_s = trio.current_time()
    await uplink._close(Clinging())  # type: ignore[arg-type]
    assert trio.current_time() - began_s < 5, "close blocks for seconds, and nobody may wait for it"
    released.set()
    log.close()


@in_trio
async def test_a_window_that_has_room_but_not_for_the_next_frame_costs_no_cpu(tmp_path: Path) -> None:
    """Asking again and again whether it fits would burn a core while a collector is slow."""
    collector = RudeCollector()
    collector.manners.window_bytes = 50_000
    collector.manners.deaf = True
    log = Log.open(tmp_path / "log", HOST, 4 * MIB)
    write(log, 3, payload_bytes=40_000)
    reads: list[int] = []
    read = log.read

    def counted(first_seq: int, max_frames: int, max_bytes: int) -> list[bytes]:
        reads.append(first_seq)
        return read(first_seq, max_frames, max_bytes)

    log.read = counted  # type: ignore[method-assign]
    try:
        async with running(log, collector.address):
            await until(lambda: len(reads) >= 2)
            await trio.sleep(0.3)
    finally:
        log.close()
        collector.stop()
    assert len(reads) < 20, "one read for each stream and one that found no room"


def test_a_message_that_inflates_to_a_hundred_megabytes_is_refused_before_it_does(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path)) as collector:
        before_kib = _peak_kib(collector.pid)
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(collector.intake, options, grpc.Compression.Gzip) as channel:
            stub: Any = UplinkStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                list(stub.Stream(iter([_hello(), wire.HostMessage(frame=bytes(100 << 20))])))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _peak_kib(collector.pid) - before_kib < 32 * 1024


def _hello() -> wire.HostMessage:
    return wire.HostMessage(hello=wire.Hello(host_id="bomber", epoch=bytes(16), frame_format=1))


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
