"""What the log costs: a durable append beside the same bytes in a bare file, and a backlog's way to a collector.

Appends go to the log, to a bare file, to SQLite and to persist-queue in turns, so that all see the same disk. The
backlog goes to a server in another process that acknowledges and keeps nothing; beside it, in the same run, a bare
gRPC stream with the same messages out of memory, and the same bytes through a TCP socket. The bare stream goes to the
same server, which does the same with it, through the stub that protobuf generates; its messages are made before the
clock runs, and it heeds no window. Each is sent several times in turns, and the median is told; the share of the bare
stream is that of each pair. Client CPU is that of this process: reading, checking each hash, sending, committing
acknowledgements.

    python bench/bench_log.py [--appends 300]

Bounds believed in before measuring: an append of 100 records at most 2.2 times append + fdatasync (p50);
200,000 records/s on the way to the collector, 80 % of the bare gRPC stream, at most 1 µs of client CPU a record.
"""

import argparse
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import trio
from persistqueue import Queue

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
ROUNDS = 7


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
    with socket.create_server(("127.0.0.1", 0)) as bare:
        threading.Thread(target=swallow, args=(bare,), daemon=True).start()
        print(server.add_insecure_port("127.0.0.1:0"), bare.getsockname()[1], flush=True)
        server.start()
        sys.stdin.read()


def swallow(listener: socket.socket) -> None:
    """Reads each connection to its end and then says one byte: all of it has arrived."""
    while True:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(1 << 20):
                pass
            connection.sendall(b".")


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
    database, queue = full_sqlite(folder / "sqlite"), Queue(str(folder / "queue"))
    times: dict[str, list[float]] = {
        "write + fdatasync": [],
        "log, durable": [],
        "SQLite, FULL": [],
        "persist-queue": [],
    }
    for seq, entry in enumerate(make_entries(count, 100), 1):
        ours = timed_ms(lambda entry=entry: log.append([entry], None))
        raw = log.read(seq, 1, 1)[0]
        ways: tuple[Callable[[bytes], object], ...] = (partial(write_durably, fd), partial(insert, database), queue.put)
        others = [timed_ms(lambda way=way, raw=raw: way(raw)) for way in ways]
        for name, took_ms in zip(times, (others[0], ours, *others[1:]), strict=True):
            times[name].append(took_ms)
    os.close(fd)
    database.close()
    stored_bytes = log.stat().bytes / count
    log.close()
    bare_ms = statistics.median(times["write + fdatasync"])
    print(f"{count} appends of 100 records, {stored_bytes:.0f} bytes of pages each in the log")
    for name, found in times.items():
        p50 = statistics.median(found)
        print(f"  {name:18} p50 {p50:7.3f} ms   p99 {quantile_99(found):7.3f} ms   {p50 / bare_ms:5.2f} x")
    print("  ours at most 2.2 x; persist-queue flushes to the disk only once in a hundred items")


def full_sqlite(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    return database


def insert(database: sqlite3.Connection, raw: bytes) -> None:
    database.execute("INSERT INTO log (body) VALUES (?)", (raw,))


def write_durably(fd: int, raw: bytes) -> None:
    os.write(fd, raw)
    os.fdatasync(fd)


def quantile_99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def measure_replay(folder: Path, address: str, bare_port: int, frames: int, records: int) -> None:
    log = Log.open(folder / f"log-{records}", HOST, 512 * 1024 * 1024)
    log.append(make_entries(frames, records), None)
    stored = log.read(1, frames, 10**9)
    count, size_bytes = log.stat().unacked_records, sum(map(len, stored))
    messages = [wire.HostMessage(frame=raw) for raw in stored]
    trio.run(drain, log, address, 60.0)  # connections, imports and the page cache are warm before the clock runs
    ours: list[Cost] = []
    bare: list[Cost] = []
    raw: list[Cost] = []
    for _ in range(ROUNDS):
        log.take_back(0)
        ours.append(cost_of(lambda: trio.run(drain, log, address, 60.0)))
        bare.append(cost_of(lambda: bare_grpc(address, messages)))
        raw.append(cost_of(lambda: bare_tcp(bare_port, stored)))
    log.close()
    print(f"{frames} frames of {records} records, {size_bytes / count:.1f} bytes a record on the wire")
    for name, costs in (("raw TCP", raw), ("bare gRPC stream", bare), ("from the log", ours)):
        middle = median(costs)
        print(
            f"  {name:17} {size_bytes / middle.elapsed_s / 1e6:8.1f} MB/s {count / middle.elapsed_s:12,.0f} records/s"
            f" {middle.cpu_s / count * 1e6:6.2f} us of client CPU a record, {middle.cpu_s / frames * 1e6:4.0f} a frame"
        )
    shares = sorted(other.elapsed_s / own.elapsed_s for other, own in zip(bare, ours, strict=True))
    middle_share = shares[len(shares) // 2]
    print(
        f"  ours: {middle_share:.0%} of the bare gRPC stream (at least 80 %), {shares[0]:.0%} to {shares[-1]:.0%} in"
        f" {ROUNDS} pairs; at least 200,000 records/s; at most 1 us"
    )


@dataclass(frozen=True, order=True)
class Cost:
    """Of sending everything once; CPU of this process."""

    elapsed_s: float
    cpu_s: float


def median(costs: list[Cost]) -> Cost:
    return sorted(costs)[len(costs) // 2]


def cost_of(work: Callable[[], object]) -> Cost:
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - began_s, time.process_time() - began_cpu_s)


async def drain(log: Log, address: str, deadline_s: float) -> None:
    """Returns when the last frame's acknowledgement is durable."""
    last_seq, acknowledged = log.stat().last_seq, trio.Event()

    def hear(through_seq: int) -> None:
        if through_seq == last_seq:
            acknowledged.set()

    settings = UplinkConfig(endpoints=(address,), insecure_plaintext=True)
    uplink = Uplink(log, settings, HOST, "bench", WriterThread(), hear)
    with trio.fail_after(deadline_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(uplink.run)
            await acknowledged.wait()
            nursery.cancel_scope.cancel()


def bare_grpc(address: str, messages: list[wire.HostMessage]) -> None:
    hello = wire.HostMessage(hello=wire.Hello(host_id=HOST, epoch=bytes(16)))
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        requests = iter([hello, *messages])
        last = 0
        for message in UplinkStub(channel).Stream(requests):
            last = message.ack.through_seq
        assert last == len(messages) // ACK_EVERY * ACK_EVERY


def bare_tcp(port: int, frames: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for raw in frames:
            connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"."


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
            port, bare_port = map(int, server.stdout.readline().split())
            for frames, records in ((16_000, 100), (6_400, 1_000)):
                measure_replay(Path(name), f"localhost:{port}", bare_port, frames, records)
            server.communicate()


if __name__ == "__main__":
    main()
