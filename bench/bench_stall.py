"""Whether commits stall trio's loop: how late a task wakes that only sleeps, with and without a keeper that commits.

The keeper closes and commits windows of eight GPUs with the meter's checkpoint, twenty times a second, in the log's
writer thread; a real daemon does so once a minute, and a checkpoint every twenty seconds. The watcher sleeps for
5 ms and notes by how much it woke too late. Beside it, in the same run, the same with nothing to commit.

    python bench/bench_stall.py [--seconds 20]

Bound believed in before measuring: at most 10 ms at the 99th percentile.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import trio
from bench_outage import HOST, SimulatedTime  # type: ignore[import-not-found] # beside this file

from gputally.daemon.keeper import Keeper, WriterThread
from gputally.storage.wal import Log

MIB = 1 << 20
SLEEP_S, COMMITS_PER_S = 0.005, 20


async def watch(late_ms: list[float]) -> None:
    while True:
        before_s = time.perf_counter()
        await trio.sleep(SLEEP_S)
        late_ms.append((time.perf_counter() - before_s - SLEEP_S) * 1_000)


async def commit(keeper: Keeper, host: SimulatedTime) -> None:
    while True:
        for batch in host.window():
            if batch is not None:
                await keeper.keep(host.meter, batch)
        await trio.sleep(1 / COMMITS_PER_S)


async def measure(folder: Path, seconds: float, commits: bool) -> tuple[list[float], int]:
    log, late_ms = Log.open(folder, HOST, 64 * MIB), list[float]()
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, late_ms)
            if commits:
                nursery.start_soon(commit, Keeper(log, WriterThread()), SimulatedTime())
    frames = log.stat().last_seq
    log.close()
    return late_ms, frames


def told(name: str, late_ms: list[float]) -> None:
    middle, high = statistics.median(late_ms), statistics.quantiles(late_ms, n=100)[98]
    print(f"  {name:14} late by p50 {middle:6.2f} ms   p99 {high:6.2f} ms   at most {max(late_ms):6.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="gputally-bench-") as name:
        quiet, _ = trio.run(measure, Path(name) / "quiet", seconds, False)
        busy, frames = trio.run(measure, Path(name) / "busy", seconds, True)
    print(
        f"{frames} frames committed in {seconds:g} s beside a task that sleeps for {SLEEP_S * 1000:g} ms; "
        "p99 at most 10 ms"
    )
    told("no commits", quiet)
    told("with commits", busy)


if __name__ == "__main__":
    main()
