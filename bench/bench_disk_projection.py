"""What a record costs on disk in the projection, all tables and rollups counted, beside its raw size.

Bound: 40 bytes a record. The records come as they do in life: folded frame by frame from a log, of hosts
whose clocks, energy and memory are not round numbers. Raw is the size of the frames' payloads.

    bench_disk_projection.py [--hosts 40] [--hours 24] [--columns]
"""

import argparse
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gputally.collector.folding import Folding
from gputally.collector.folding_state import FoldingState
from gputally.model.identity import records_digest
from gputally.model.interval import NS_PER_S, Interval
from gputally.model.usage import Batch, ClockState, DeviceWindow, EnergySource, Segment, UsageRecord
from gputally.model.workload import Owner, Workload
from gputally.proto.convert import encode_batch
from gputally.storage.frame import genesis_hash, make_frame
from gputally.storage.ledger_folder import PROJECTION_FILE
from gputally.storage.ledger_reader import Entry
from gputally.storage.ledger_rules import EntryKind, StreamId
from gputally.storage.projection import Projection

BOUND_BYTES = 40
JUNE_NS = 1_748_736_000 * NS_PER_S
MINUTE_NS = 60 * NS_PER_S
EPOCH = b"e" * 16


def batch(host: int, minute: int, dice: random.Random) -> Batch:
    """Eight GPUs, a job each; one in eight begins or ends in this minute, one in eight is shared by two."""
    booted_ns = random.Random(host).randrange(10**16)
    window_ns = JUNE_NS + minute * MINUTE_NS
    records: list[UsageRecord] = []
    rows: list[DeviceWindow] = []
    for gpu in range(8):
        boot = Interval(booted_ns + minute * MINUTE_NS, booted_ns + (minute + 1) * MINUTE_NS)
        where = Segment(
            f"nvidia:GPU-{host:08x}-{gpu}", 0, "NVIDIA H100 80GB HBM3", boot, window_ns, window_ns, MINUTE_NS,
            ClockState.SYNCED,
        )  # fmt: skip
        made = list(_records(where, host, gpu, minute, dice))
        energy_mj = sum(record.energy_mj or 0 for record in made)
        start_mj = minute * 40_000_000 + gpu * 7_654_321 + host
        idle_ns = MINUTE_NS - sum(record.allocated_ns for record in made)
        rows.append(
            DeviceWindow(
                where, idle_ns, (), len(made), records_digest(made), start_mj, start_mj + energy_mj,
                energy_source=EnergySource.COUNTER, interval_ns=NS_PER_S,
            )
        )  # fmt: skip
        records += made
    return Batch(f"gpu-{host:04d}", f"boot-{host}", tuple(records), tuple(rows), window_ns + MINUTE_NS)


def _records(where: Segment, host: int, gpu: int, minute: int, dice: random.Random) -> Iterator[UsageRecord]:
    job = (host * 8 + gpu) * 1000 + minute // 240
    kind = dice.randrange(8)
    whole = dice.randrange(MINUTE_NS) if kind == 0 else MINUTE_NS
    shares = (whole // 2, whole - whole // 2) if kind == 1 else (whole,)
    for number, ns in enumerate(shares):
        owner = Owner(f"tenant-{job % 40}", f"project-{job % 7}", "rule 3", "", (("team", f"t{job % 9}"),))
        yield UsageRecord(
            where, Workload("slurm", f"{job + number}"), owner, ns, whole, busy_ns=dice.randrange(MINUTE_NS),
            busy_known_ns=MINUTE_NS, gpu_memory_byte_ms=dice.randrange(80 * 2**30) * 60_000,
            energy_mj=dice.randrange(42_000_000), edge_uncertainty_ns=10_000_000 if kind == 0 else 0,
            rules_version="4f2a", evidence=f"/slurm/job_{job}",
        )  # fmt: skip


def run(hosts: int, hours: int, folder: Path, columns: bool) -> None:
    projection = Projection(folder, "bench", 2**60)
    dice = random.Random(1)
    log_id = records = raw_bytes = 0
    state = FoldingState(projection)
    for minute in range(hours * 60):
        with projection.transaction(log_id + hosts):
            folding = Folding(projection, state, lambda *_: 0)
            for host in range(hosts):
                log_id += 1
                told = batch(host, minute, dice)
                payload = encode_batch(told)
                records, raw_bytes = records + len(told.records), raw_bytes + len(payload)
                frame = make_frame(EPOCH, minute + 1, genesis_hash(told.host_id, EPOCH), len(told.records), payload)
                stream, received_ns = StreamId(told.host_id, EPOCH), JUNE_NS + (minute + 1) * MINUTE_NS
                folding.take(Entry(log_id, stream, minute + 1, EntryKind.FRAME, b"", received_ns, frame.to_bytes()))
            folding.finish()
        if minute % 15 == 14:
            projection.refresh(JUNE_NS + minute * MINUTE_NS)
    while projection.refresh(2**62):
        pass
    projection.reader().execute("CHECKPOINT")
    if columns:
        _print_columns(projection)
    projection.close()
    size = (folder / PROJECTION_FILE).stat().st_size
    print(f"{records:,} records of {hosts} hosts, {hours} h, and {hours * 60 * hosts * 8:,} device rows")
    print(f"raw {raw_bytes / records:.1f} bytes a record, projection {size / records:.1f} (<= {BOUND_BYTES})")


def _print_columns(projection: Projection) -> None:
    """Blocks of 256 KiB that hold something of each column; small columns share blocks, so this is an upper bound."""
    for table in ("record", "device_row", "rollup_quarter"):
        found = projection.reader().execute(
            "SELECT column_name, string_agg(DISTINCT compression, ' '), count(DISTINCT block_id) FROM"
            f" pragma_storage_info('{table}') WHERE segment_type <> 'VALIDITY' GROUP BY ALL ORDER BY 3 DESC"
        )
        for name, compression, blocks in found.fetchall():
            print(f"{table:16} {name:22} {blocks:4} blocks  {compression}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--columns", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        run(told.hosts, told.hours, Path(made), told.columns)
