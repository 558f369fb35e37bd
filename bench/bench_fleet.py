"""A fleet of hosts and one collector, all over mutual TLS: are all served, how soon, and what does a stream cost?

Beside each figure, in the same run, a bare grpc.aio server that answers the same messages and does nothing else:
no check, no disk. The fleet shares the machine's cores with both, so its own handshakes are in every figure.

    python bench/bench_fleet.py [--hosts 1000] [--streams 2000] [--windows 2] [--only streams,memory,live,backlog]

Bounds believed in before measuring: 2,000 streams at once are all welcomed and acknowledged; an idle stream costs
the collector at most 128 KB (bare: 83); p95 from a window's end to its durable acknowledgement under 5 s with
1,000 hosts of 8 GPUs, each connecting anew in the same second (the daemon's own jitter spreads them over it);
1,000 hosts with an hour of backlog at once: none refused for good, drained in 60 s.
"""

import argparse
import asyncio
import gc
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop

from gputally.cli.pki_files import CA, make_folder, write_new
from gputally.cli.pki_fleet import certificates_for
from gputally.cli.pki_make import Kind, Signer, general_names, issue, make_authority
from gputally.collector.intake import _OPTIONS
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.proto.v1.uplink_pb2_grpc import UplinkServicer, add_UplinkServicer_to_server
from gputally.simulator.fleet.dial import Target
from gputally.simulator.fleet.fleet import INTERRUPTED, Enough, Manner, Outcome, run_fleet
from gputally.simulator.fleet.plan import FleetPlan
from gputally.simulator.fleet.tally import Tally, percentile_ms
from gputally.storage.frame import genesis_hash, read_frame

S = 1_000_000_000
WINDOW_NS = 60 * S
GPUS, TENANTS, PROCESSES = 8, 8, 2
SETTLE_S = 3.0
BOUNDS = {
    "streams": "all of them welcomed and acknowledged",
    "memory": "at most 128 KB an idle stream",
    "live": "p95 from a window's end to its acknowledgement under 5 s",
    "backlog": "none refused for good, drained in 60 s",
}
LONG_S = 3_600.0
LINGER_S = 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """What is measured: a process that listens."""

    name: str
    pid: int
    target: Target

    def pss_kib(self) -> int:
        """Its share of memory (proc_pid_smaps(5))."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(text.split("\nPss:")[1].split()[0])

    def cpu_s(self) -> float:
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Bare(UplinkServicer):
    """Acknowledges whatever comes."""

    async def Stream(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        hello = (await context.read()).hello
        start = genesis_hash(hello.host_id, hello.epoch)
        welcome = wire.Welcome(ledger_id="bare", head_hash=start, window_frames=64, window_bytes=8 << 20)
        await context.write(wire.CollectorMessage(welcome=welcome))
        while (message := await context.read()) is not grpc.aio.EOF and message.WhichOneof("kind") == "frame":
            through_seq = read_frame(message.frame).seq
            await context.write(wire.CollectorMessage(ack=wire.Ack(through_seq=through_seq)))


def serve_bare(ca: bytes, certificate: bytes, key: bytes, pipe: "Connection[int, None]") -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # grpc.aio has pages to say about each client that hangs up

    async def serve() -> None:
        server = grpc.aio.server(options=_OPTIONS)
        add_UplinkServicer_to_server(Bare(), server)
        credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
        pipe.send(server.add_secure_port("127.0.0.1:0", credentials))
        await server.start()
        await server.wait_for_termination()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


@contextmanager
def bare(pki: Path, target: Callable[[str], Target]) -> Iterator[Server]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    files = [(pki / name).read_bytes() for name in ("ca.pem", "localhost.pem", "localhost.key")]
    process = context.Process(target=serve_bare, args=(*files, theirs), daemon=True)
    process.start()
    try:
        assert process.pid is not None
        yield Server("bare grpc.aio", process.pid, target(f"localhost:{ours.recv()}"))
    finally:
        process.terminate()
        process.join()


@contextmanager
def collector(pki: Path, target: Callable[[str], Target]) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "collector.toml"
        config.write_text(
            f'[intake]\nlisten = "127.0.0.1:0"\nca = "{pki}/ca.pem"\ncertificate = "{pki}/localhost.pem"\n'
            f'key = "{pki}/localhost.key"\n[api]\nlisten = "127.0.0.1:0"\n[ledger]\npath = "{folder / "ledger"}"\n'
        )
        command = [sys.executable, "-m", "gputally.cli", "collector", "--config", str(config)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        port = process.stdout.readline().split()[2].rstrip(",").rpartition(":")[2]
        try:
            yield Server("collector", process.pid, target(f"localhost:{port}"))
        finally:
            process.terminate()
            process.wait()


@dataclass(slots=True)
class Held:
    """Watches a fleet whose streams stay open; ends it when memory has been looked at."""

    server: Server
    streams: int
    frames: int
    pss_kib: int = 0
    most: int = 0
    at_s: float = 0.0
    cpu_s: float = 0.0

    def __call__(self, tally: Tally) -> None:
        self.most = max(self.most, tally.streams)
        if tally.streams == self.streams and tally.frames == self.frames:
            self.at_s, self.cpu_s = time.monotonic(), self.server.cpu_s()
            time.sleep(SETTLE_S)
            self.pss_kib = self.server.pss_kib()
            raise Enough("all are held")


def plan_of(hosts: int, windows: int, *, live: bool = False) -> FleetPlan:
    """Names of its own each time; a backlog ends now, a live fleet begins with the next window."""
    now_ns = time.time_ns()
    edge_ns = now_ns - now_ns % WINDOW_NS
    start_ns = edge_ns + WINDOW_NS if live else edge_ns - windows * WINDOW_NS
    return FleetPlan(PREFIX, hosts, GPUS, windows, WINDOW_NS, start_ns, TENANTS, 1)


PREFIX = f"bench-{secrets.token_hex(3)}"
"""One for all: certificates are made once, and each server is used for one fleet after another in new epochs."""


def children_s() -> float:
    """CPU of the fleet's processes, which have ended by then."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(server: Server, plan: FleetPlan, manner: Manner, tell: Callable[[Tally], None]) -> Outcome:
    outcome = run_fleet(plan, server.target, manner, tell)
    if outcome.stopped == INTERRUPTED:
        raise KeyboardInterrupt
    return outcome


def hold(server: Server, streams: int) -> tuple[Held, Outcome]:
    """So many streams at once, each of which has said one frame and stays."""
    held = Held(server, streams, streams)
    manner = Manner(linger_s=LONG_S, processes=PROCESSES, concurrency=2 * streams)
    return held, run(server, plan_of(streams, 1), manner, held)


def measure_streams(server: Server, streams: int) -> str:
    began_s, server_s, fleet_s = time.monotonic(), server.cpu_s(), children_s()
    held, outcome = hold(server, streams)
    each_ms, fleet_ms = (1000 * took_s / streams for took_s in (held.cpu_s - server_s, children_s() - fleet_s))
    return (
        f"{held.most} of {streams} streams open at once after {held.at_s - began_s:.1f} s, {outcome.tally.frames} "
        f"frames acknowledged, {outcome.tally.retries} tried again; "
        f"CPU a stream: {each_ms:.1f} ms, of the fleet {fleet_ms:.1f} ms"
    )


def measure_memory(server: Server, streams: int) -> str:
    hold(server, streams // 10)  # what is there once, for however many
    time.sleep(SETTLE_S)
    before_kib = server.pss_kib()
    held, outcome = hold(server, streams)
    each = (held.pss_kib - before_kib) / streams
    again = f" ({outcome.tally.retries} streams were tried again)" if outcome.tally.retries else ""
    return f"{each:.0f} KiB for each of {streams} idle streams{again}"


def measure_live(server: Server, hosts: int, windows: int) -> str:
    before_s = server.cpu_s()
    manner = Manner(live=True, linger_s=LINGER_S, processes=PROCESSES, concurrency=hosts)
    tally = run(server, plan_of(hosts, windows, live=True), manner, lambda _: None).tally
    told = ", ".join(f"p{percent} {percentile_ms(tally.delays_ms, percent)} ms" for percent in (50, 95, 99, 100))
    cpu_ms = 1000 * (server.cpu_s() - before_s) / (hosts * windows)
    return f"{told}; {tally.retries} tried again, {tally.refused.total()} refused; {cpu_ms:.2f} ms of CPU a window"


def measure_backlog(server: Server, hosts: int) -> str:
    manner = Manner(processes=PROCESSES, concurrency=2 * hosts)
    outcome = run(server, plan_of(hosts, 60), manner, lambda _: None)
    tally = outcome.tally
    return (
        f"{tally.hosts_done} of {hosts} hosts drained in {outcome.took_s:.1f} s, {tally.frames} frames, "
        f"{tally.records / outcome.took_s:,.0f} records/s; {tally.retries} tried again, {tally.refused.total()} refused"
    )


def make_pki(folder: Path, hosts: int) -> Callable[[str], Target]:
    """What makes a target of an endpoint."""
    make_folder(folder)
    authority = make_authority("bench authority", 2)
    write_new(folder, CA, authority)
    signer = Signer(authority.certificate, authority.key)
    write_new(
        folder, "localhost", issue(signer, "localhost", general_names(["localhost", "127.0.0.1"]), Kind.COLLECTOR, 2)
    )
    plan = plan_of(hosts, 1)
    certificates = certificates_for(folder, list(map(plan.host_id, range(hosts))), 2)
    return lambda endpoint: Target(endpoint, authority.certificate_pem, None, certificates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1_000)
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--windows", type=int, default=2, help="of the live fleet")
    parser.add_argument("--only", default="streams,memory,live,backlog")
    told = parser.parse_args()
    measures: dict[str, Callable[[Server], str]] = {
        "streams": lambda server: measure_streams(server, told.streams),
        "memory": lambda server: measure_memory(server, told.hosts),
        "live": lambda server: measure_live(server, told.hosts, told.windows),
        "backlog": lambda server: measure_backlog(server, told.hosts),
    }
    with tempfile.TemporaryDirectory() as name:
        target = make_pki(Path(name) / "pki", max(told.hosts, told.streams))
        gc.freeze()
        for what in told.only.split(","):
            print(f"{what}: bound: {BOUNDS[what]}")
            for start in (bare, collector):
                with start(Path(name) / "pki", target) as server:
                    print(
                        f"{what:<8} {server.name:<14} {measures[what](server)}  [load {os.getloadavg()[0]:.1f}]",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
