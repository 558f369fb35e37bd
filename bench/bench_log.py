"""What the log costs: a durable append beside the same bytes in a bare file, and a backlog's way to a collector.

Appends go to the log and to the file in turns, so that both see the same disk. The backlog goes to a server in
another process that acknowledges and keeps nothing; beside it, in the same run, bare gRPC with the same bytes
out of memory. Client CPU is that of this process: reading, checking each hash, sending, committing acknowledgements.

    python bench/bench_log.py [--appends 300]

Bounds believed in before measuring: an append of 100 records at most 2.2 times append + fdatasync (p50);
200,000 records/s on the way to the collector, at most 1 µs of client CPU a record.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import trio

from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import WriterThread
from gputally.daemon.uplink import Uplink
from gputally.model.interval import Interval
from gputally.proto.convert import encode_batch
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.proto.v1.uplink_pb2_grpc import UplinkServicer, UplinkStub, add_UplinkServicer_to_server
from gputally.simulator.stream import SimulatedHost
from gputally.storage.frame import genesis_hash
from gputally.storage.wal import Entry, Log

HOST = "gpu-01"
JUNE_NS = 1_748_736_000 * 10**9
MINUTE_NS = 60 * 10**9
WINDOW_FRAMES, WINDOW_BYTES, ACK_EVERY = 64, 8 * 1024 * 1024, 8


class Acknowledger(UplinkServicer):
    """Welcomes, acknowledges every few frames, keeps nothing."""

    def Stream(self, request_iterator: Any, context: Any) -> Iterator[wire.CollectorMessage]:
        hello = next(request_iterator).hello
        welcome = wire.Welcome(
            head_hash=genesis_hash(hello.host_id, hello.epoch),
            window_frames=WINDOW_FRAMES,
            window_bytes=WINDOW_BYTES,
        )
        yield wire.CollectorMessage(welcome=welcome)
        for seq, message in enumerate(request_iterator, 1):
            if message.HasField("goodbye"):
                return
            if seq % ACK_EVERY == 0:
                yield wire.CollectorMessage(ack=wire.Ack(through_seq=seq))


def serve() -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    add_UplinkServicer_to_server(Acknowledger(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()


def make_entries(frames: int, records: int) -> list[Entry]:
    """Windows of eight GPUs as a daemon would write them; a few of them over and over, for the log does not look in."""
    few = make_different_entries(min(frames, 20), records)
    return [few[seq % len(few)] for seq in range(frames)]


def make_different_entries(frames: int, records: int) -> list[Entry]:
    host = SimulatedHost(HOST, records_per_frame=records)
    for gpu in range(8):
        span = Interval(JUNE_NS, JUNE_NS + -(-frames * records // 8) * MINUTE_NS)
        host.hold(f"nvidia:GPU-{gpu}", "NVIDIA H100 80GB HBM3", f"org-{gpu}", span)
    return [Entry(len(batch.records), encode_batch(batch)) for batch in host.batches()][:frames]


def timed_ms(work: Any) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1_000


def measure_appends(folder: Path, count: int) -> None:
    log = Log.open(folder / "log", HOST, 64 * 1024 * 1024)
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    logged: list[float] = []
    bare: list[float] = []
    for seq, entry in enumerate(make_entries(count, 100), 1):
        logged.append(timed_ms(lambda entry=entry: log.append([entry], None)))
        raw = log.read(seq, 1, 1)[0]
        bare.append(timed_ms(lambda raw=raw: write_durably(fd, raw)))
    os.close(fd)
    ratio = statistics.median(logged) / statistics.median(bare)
    stored_bytes = log.stat().bytes / count
    log.close()
    print(f"{count} appends of 100 records, {stored_bytes:.0f} bytes of pages each")
    print(f"  log, durable:       p50 {statistics.median(logged):7.3f} ms   p99 {quantile_99(logged):7.3f} ms")
    print(f"  write + fdatasync:  p50 {statistics.median(bare):7.3f} ms   p99 {quantile_99(bare):7.3f} ms")
    print(f"  ratio of p50: {ratio:.2f} (at most 2.2)")


def write_durably(fd: int, raw: bytes) -> None:
    os.write(fd, raw)
    os.fdatasync(fd)


def quantile_99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def measure_replay(folder: Path, address: str, frames: int, records: int) -> None:
    log = Log.open(folder / f"log-{records}", HOST, 256 * 1024 * 1024)
    log.append(make_entries(frames, records), None)
    stored = log.read(1, frames, 10**9)
    count = log.stat().unacked_records
    trio.run(drain, log, address, None)  # connections, imports and the page cache are warm before the clock runs
    log.take_back(0)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    trio.run(drain, log, address, 60.0)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    log.close()
    bare_s, bare_cpu_s = bare_grpc_s(address, stored)
    print(f"{frames} frames of {records} records, {sum(map(len, stored)) / count:.1f} bytes a record on the wire")
    print(f"  from the log, acknowledged: {count / took_s:12,.0f} records/s (at least 200,000)")
    print(f"  bare gRPC, same bytes:      {count / bare_s:12,.0f} records/s, ratio of times {took_s / bare_s:.2f}")
    print(
        f"  client CPU: {cpu_s / count * 1e6:.2f} us a record (at most 1), {cpu_s / frames * 1e6:.0f} us a frame; ",
        end="",
    )
    print(f"bare gRPC {bare_cpu_s / frames * 1e6:.0f}")


async def drain(log: Log, address: str, deadline_s: float | None) -> None:
    settings = UplinkConfig(endpoints=(address,), insecure_plaintext=True)
    uplink = Uplink(log, settings, HOST, "bench", WriterThread())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uplink.run)
        assert await uplink.drain(deadline_s or 60.0)


def bare_grpc_s(address: str, frames: list[bytes]) -> tuple[float, float]:
    """Elapsed and CPU of this process."""
    hello = wire.HostMessage(hello=wire.Hello(host_id=HOST, epoch=bytes(16)))
    with grpc.insecure_channel(address) as channel:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        requests = iter([hello, *(wire.HostMessage(frame=raw) for raw in frames)])
        last = 0
        for message in UplinkStub(channel).Stream(requests):
            last = message.ack.through_seq
        assert last == len(frames) // ACK_EVERY * ACK_EVERY
        return time.perf_counter() - began_s, time.process_time() - began_cpu_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--appends", type=int, default=300)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.serve:
        serve()
        return
    with tempfile.TemporaryDirectory() as name:
        measure_appends(Path(name), told.appends)
        command = [sys.executable, __file__, "--serve"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            address = f"localhost:{int(server.stdout.readline())}"
            for frames, records in ((3_200, 100), (640, 1_000)):
                measure_replay(Path(name), address, frames, records)
            server.communicate()


if __name__ == "__main__":
    main()
