"""How many bytes a record takes in the ledger's log, beside the bytes it has as it is metered and in its frame.

Hosts of eight GPUs, all held: bare ones as the simulator has them, and measured ones, whose UUIDs, busy times and
energies are as hard to foresee as those of real hosts. What is committed together is compressed together, so the
size of a commit is part of the question: a collector that takes what a fleet closes at the same second commits
hundreds of frames at once, one that hears of a host now and then a single one.

    python bench/bench_disk.py [--records 100000]

Believed in before measuring: at most 40 bytes per record in the log.
"""

import argparse
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

from gputally.model.identity import records_digest
from gputally.model.interval import Interval
from gputally.model.usage import Batch, DeviceWindow, EnergySource, UsageRecord
from gputally.simulator.stream import SimulatedHost, chain
from gputally.storage.frame import Frame
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_folder import LOG_FILE
from gputally.storage.ledger_rules import Offer, StreamId

JUNE_NS = 1_748_736_000 * 10**9
WINDOW_NS = 60 * 10**9
GPUS = 8
COMMITS = (1, 4, 16, 256)


def batches(chance: Random, name: str, records: int, frames: int, plain: bool) -> Iterator[Batch]:
    host = SimulatedHost(name, records_per_frame=records)
    span = Interval(JUNE_NS, JUNE_NS + frames * records // GPUS * WINDOW_NS)
    for gpu in range(GPUS):
        told = gpu if plain else uuid.UUID(int=chance.getrandbits(128))
        device_id = f"nvidia:GPU-{name}-{told}"
        host.hold(device_id, "NVIDIA H100 80GB HBM3", f"org-{gpu % 5}", span)
    counters: dict[str, int] = {use.device_id: chance.randrange(10**12) for use in host.uses}
    for batch in host.batches():
        yield batch if plain else measured(chance, batch, counters)


def measured(chance: Random, batch: Batch, counters: dict[str, int]) -> Batch:
    """With amounts as a host measures them. ``counters``: each device's energy so far, in mJ."""
    records = tuple(_measured_record(chance, record) for record in batch.records)
    by_segment = {record.segment: record for record in records}
    rows = tuple(_measured_row(row, by_segment[row.segment], counters) for row in batch.rows)
    return replace(batch, records=records, rows=rows)


def _measured_record(chance: Random, record: UsageRecord) -> UsageRecord:
    busy_ns = record.allocated_ns * chance.randrange(10_000) // 10_000
    return replace(
        record,
        busy_ns=busy_ns,
        busy_known_ns=record.allocated_ns,
        gpu_memory_byte_ms=chance.randrange(80) * 2**30 * 60_000,
        energy_mj=chance.randrange(6_000_000, 42_000_000),
        rules_version="r1",
        evidence=f"/system.slice/docker-{record.owner.tenant}.scope",
    )


def _measured_row(row: DeviceWindow, record: UsageRecord, counters: dict[str, int]) -> DeviceWindow:
    start_mj = counters[row.segment.device_id]
    counters[row.segment.device_id] = end_mj = start_mj + (record.energy_mj or 0)
    return replace(
        row,
        records_digest=records_digest([record]),
        energy_start_mj=start_mj,
        energy_end_mj=end_mj,
        energy_source=EnergySource.COUNTER,
        interval_ns=10**9,
    )


def made(hosts: int, records: int, frames: int, plain: bool) -> list[tuple[StreamId, list[Frame]]]:
    told: list[tuple[StreamId, list[Frame]]] = []
    for number in range(hosts):
        chance, name = Random(number), f"host-{number:04d}"
        stream = StreamId(name, chance.randbytes(16))
        told.append((stream, list(chain(name, stream.epoch, batches(chance, name, records, frames, plain)))))
    return told


def log_bytes(told: list[tuple[StreamId, list[Frame]]], most: int) -> int:
    """Of a ledger that took a frame of each host in turn, at most so many in a commit."""
    turns = [
        Offer(stream, frame.seq, frame.previous_hash, frame.hash, frame.to_bytes())
        for number in range(len(told[0][1]))
        for stream, frames in told
        for frame in frames[number : number + 1]
    ]
    with tempfile.TemporaryDirectory() as name:
        ledger = Ledger(Path(name))
        for start in range(0, len(turns), most):
            ledger.commit(turns[start : start + most], JUNE_NS + start)
        ledger.close()
        return (Path(name) / LOG_FILE).stat().st_size


def measure(records: int, total: int, plain: bool) -> None:
    told = made(min(256, max(total // records // 8, 1)), records, 8 if records == 8 else 2, plain)
    frames = [frame for _, its_frames in told for frame in its_frames]
    count = sum(frame.record_count for frame in frames)
    payload_bytes = sum(frame.payload_length for frame in frames)
    frame_bytes = sum(len(frame.to_bytes()) for frame in frames)
    print(f"{len(told)} hosts, {len(frames)} frames of {records}, {'bare' if plain else 'measured'} records")
    print(f"  as metered {payload_bytes / count:.1f}, in frames {frame_bytes / count:.1f} bytes per record")
    for most in COMMITS:
        print(f"  in the log {log_bytes(told, most) / count:.1f}, {most} frames in a commit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    told = parser.parse_args()
    for records in (1_000, 8):
        for plain in (True, False):
            measure(records, told.records, plain)


if __name__ == "__main__":
    main()
