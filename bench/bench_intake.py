"""How many records a second a collector makes durable: many hosts, frames of 1,000 records, real gRPC, real disk.

Beside it, in the same run on the same disk, what SQLite alone does with the same bytes; the ratio is what
the stream, the checks and the acknowledgements cost. Clients share the machine's cores with the collector.

    python bench/bench_intake.py [--hosts 8] [--frames 25] [--records 1000]

Bounds believed in before measuring: 100,000 records/s in frames of 1,000, 20,000 in frames of 8.
"""

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost
from gputally.simulator.uplink import deliver
from gputally.storage.frame import Frame

JUNE_NS = 1_748_736_000 * 10**9
WINDOW_NS = 60 * 10**9
CLIENTS = 2


def frames_of(number: int, frames: int, records: int) -> tuple[str, bytes, list[Frame]]:
    """One host of eight GPUs, all held, and its log in frames of so many records."""
    host = SimulatedHost(f"host-{number:04d}", records_per_frame=records)
    for gpu in range(8):
        length_ns = frames * records // 8 * WINDOW_NS
        host.hold(f"nvidia:GPU-{number}-{gpu}", "NVIDIA H100", f"org-{gpu}", Interval(JUNE_NS, JUNE_NS + length_ns))
    return host.host_id, host.epoch, list(host.frames())


def stream(address: str, hosts: list[tuple[str, bytes, list[Frame]]]) -> None:
    for host_id, epoch, frames in hosts:
        deliver(address, host_id, epoch, frames)


def start_collector(folder: Path) -> tuple[subprocess.Popen[str], str]:
    config = folder / "collector.toml"
    config.write_text(
        '[intake]\nlisten = "127.0.0.1:0"\ninsecure_plaintext = true\n[api]\nlisten = "127.0.0.1:0"\n'
        f'[ledger]\npath = "{folder / "ledger"}"\n'
    )
    command = [sys.executable, "-m", "gputally.cli", "collector", "--config", str(config)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[2].rstrip(",")


def raw_append_s(folder: Path, frames: list[Frame]) -> float:
    """The same bytes into one table, eight frames to a flushed transaction."""
    database = sqlite3.connect(folder / "raw.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    bodies = [frame.to_bytes() for frame in frames]
    began = time.perf_counter()
    for start in range(0, len(bodies), 8):
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO log (body) VALUES (?)", [(body,) for body in bodies[start : start + 8]])
        database.execute("COMMIT")
    return time.perf_counter() - began


def measure(hosts: int, frames: int, records: int) -> None:
    made = [frames_of(number, frames, records) for number in range(hosts)]
    everything = [frame for _, _, its_frames in made for frame in its_frames]
    count = sum(frame.record_count for frame in everything)
    size_bytes = sum(len(frame.stored) for frame in everything)
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(CLIENTS) as clients:
        folder = Path(name)
        list(clients.map(stream, [""] * CLIENTS, [[]] * CLIENTS))  # the processes are there before the clock runs
        collector, address = start_collector(folder)
        began = time.perf_counter()
        list(clients.map(stream, [address] * CLIENTS, [made[each::CLIENTS] for each in range(CLIENTS)]))
        acknowledged_s = time.perf_counter() - began
        collector.terminate()
        collector.wait()
        raw_s = raw_append_s(folder, everything)
    print(f"{hosts} hosts, {len(everything)} frames of {records}, {count} records, {size_bytes / count:.1f} bytes each")
    print(f"durable and acknowledged: {count / acknowledged_s:>10,.0f} records/s")
    print(f"SQLite alone, same bytes: {count / raw_s:>10,.0f} records/s")
    print(f"ratio: {acknowledged_s / raw_s:.2f} times the time of SQLite alone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--frames", type=int, default=25, help="of each host")
    parser.add_argument("--records", type=int, default=1_000, help="in a frame")
    told = parser.parse_args()
    measure(told.hosts, told.frames, told.records)
    if told.records == parser.get_default("records"):
        measure(2 * told.hosts, 16 * told.frames, 8)


if __name__ == "__main__":
    main()
