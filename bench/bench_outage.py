"""Three days without a collector, and the way back: memory, pages, and how fast the backlog drains.

8 GPUs, 60 s windows, one tenant per GPU, 72 hours of simulated time (a reading every ten seconds) through the real
meter, keeper and log, then over real gRPC to a real collector, while new windows keep being closed: they arrive in
order, behind the backlog. At the end the API is asked what it knows, and every nanosecond must be there.

    python bench/bench_outage.py [--hours 72]

Bounds believed in before measuring: the backlog drains in 10 s; at most 20 MiB of used pages; anonymous memory
grows by at most 20 MiB in outage and replay together.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import Keeper, WriterThread
from gputally.daemon.uplink import Uplink
from gputally.model.meter import Meter
from gputally.model.reading import Device, DeviceReading, HostReading, ProcessOnDevice
from gputally.model.workload import Attribution, Holder, Owner, ProcessId, Workload
from gputally.simulator.stack import addresses, ask, collector_config, running
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.wal import Log

S = 1_000_000_000
MIB = 1 << 20
HOST, BOOTED_NS = "gpu-01", 1_748_736_000 * S
EVERY_S, WINDOW_S, GPUS = 10, 60, 8
LIVE_WINDOWS, LIVE_EVERY_S = 10, 0.2
FOLD_WITHIN_S = 60
DEVICES = tuple(Device(f"nvidia:GPU-{n}", "NVIDIA H100 80GB HBM3", 80 << 30) for n in range(GPUS))
HOLDERS = {
    n + 1: Holder(ProcessId(n + 1, 0), Workload("docker", f"job-{n}"), Owner(f"org-{n}", rule="1"), f"/docker/{n}")
    for n in range(GPUS)
}


class SimulatedTime:
    """The meter of a host whose GPUs are all held, all the time."""

    def __init__(self) -> None:
        self.meter = Meter(HOST, "boot-1", WINDOW_S * S)
        self.tick = 0

    def window(self) -> Iterator[Any]:
        """What each tick of the next window closes; mostly nothing."""
        for _ in range(WINDOW_S // EVERY_S):
            yield self.meter.observe(self._reading(), Attribution("r1", HOLDERS))
            self.tick += 1

    def _reading(self) -> HostReading:
        now_ns = self.tick * EVERY_S * S
        parts = tuple(
            DeviceReading(
                device.device_id, now_ns, (ProcessOnDevice(n + 1, 40 << 30, 90),), 90, 41 << 30, now_ns // 2_000_000
            )
            for n, device in enumerate(DEVICES)
        )
        return HostReading(now_ns, BOOTED_NS + now_ns, EVERY_S * S, parts, DEVICES)


def anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("the kernel does not tell RssAnon")


@contextmanager
def peak_of_memory() -> Iterator[list[int]]:
    """The largest anonymous memory of this process, looked at every 20 ms."""
    seen, over = [anonymous_bytes()], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            seen[0] = max(seen[0], anonymous_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


async def meter_windows(host: SimulatedTime, keeper: Keeper, windows: int) -> None:
    for _ in range(windows):
        for batch in host.window():
            if batch is not None:
                await keeper.keep(host.meter, batch)


async def outage_and_return(folder: Path, intake: str, hours: int) -> dict[str, float]:
    log = Log.open(folder / "log", HOST, 64 * MIB)
    in_writer, host = WriterThread(), SimulatedTime()
    keeper = Keeper(log, in_writer)
    settings = UplinkConfig(endpoints=(intake,), insecure_plaintext=True, linger_s=float("inf"))
    uplink = Uplink(log, settings, HOST, "bench", in_writer)
    await meter_windows(host, keeper, 5)  # what every daemon has loaded before anything goes wrong
    before_bytes = anonymous_bytes()
    with peak_of_memory() as peak:
        await meter_windows(host, keeper, hours * 3600 // WINDOW_S)
        backlog = log.stat()
        began_s = time.perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(uplink.run)
            nursery.start_soon(live, host, keeper, uplink)
            while log.stat().acked_seq < backlog.last_seq:
                await trio.sleep(0.01)
            drained_s = time.perf_counter() - began_s
            while log.stat().unacked_frames or host.tick < (hours * 60 + 5 + LIVE_WINDOWS) * WINDOW_S // EVERY_S:
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
    told = log.stat()
    log.close()
    return {
        "frames": backlog.last_seq,
        "records": backlog.unacked_records,
        "pages_mib": backlog.bytes / MIB,
        "drained_s": drained_s,
        "grown_mib": (peak[0] - before_bytes) / MIB,
        "through_s": host.tick * EVERY_S,
        "last_seq": told.last_seq,
    }


async def live(host: SimulatedTime, keeper: Keeper, uplink: Uplink) -> None:
    """New windows while the backlog drains."""
    for _ in range(LIVE_WINDOWS):
        await meter_windows(host, keeper, 1)
        uplink.wake()
        await trio.sleep(LIVE_EVERY_S)


def arrived_in_order(ledger: Path, last_seq: int) -> bool:
    with LedgerReader(ledger) as reader:
        seqs = [entry.seq for entry in reader.read(0, 1_000_000, 1 << 40)]
    return seqs == list(range(1, last_seq + 1))


def attributed_ns(api: str, through_s: int) -> dict[str, int]:
    """What the API says of all devices, once it has folded everything."""
    closed_s = (through_s - EVERY_S) // WINDOW_S * WINDOW_S
    wanted_ns = closed_s * S * GPUS
    window = {"range_from": stamp(BOOTED_NS // S), "range_to": stamp(BOOTED_NS // S + closed_s)}
    found_ns, deadline_s = 0, time.monotonic() + FOLD_WITHIN_S
    while found_ns != wanted_ns and time.monotonic() < deadline_s:
        found_ns = int(ask(api, "/v1/conservation", **window)["summary"]["allocated_ns"])
        time.sleep(0.2)
    return {"wanted": wanted_ns, "found": found_ns}


def stamp(unix_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=72)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gputally-bench-") as name:
        folder = Path(name)
        config = collector_config(folder, {})
        with running(["collector", "--config", str(config)], folder / "collector.log") as collector:
            intake, api = addresses(collector)
            found = trio.run(outage_and_return, folder, intake, told.hours)
            in_order = arrived_in_order(folder / "ledger", int(found["last_seq"]))
            ns = attributed_ns(api, int(found["through_s"]))
            collector.stop()
    print(f"{told.hours} h without a collector, {found['frames']:.0f} frames, {found['records']:.0f} records")
    print(f"  drained in        {found['drained_s']:6.2f} s    (at most 10)")
    print(f"  used pages        {found['pages_mib']:6.2f} MiB  (at most 20)")
    print(f"  anonymous memory  {found['grown_mib']:+6.2f} MiB  (at most +20)")
    print(f"  live windows      {'in order, behind the backlog' if in_order else 'OUT OF ORDER'}")
    print(f"  attributed        {ns['found']} of {ns['wanted']} ns")


if __name__ == "__main__":
    main()
