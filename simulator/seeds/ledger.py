"""The ledger's rows in true time, by wire alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ...proto.v1 import usage_pb2 as wire
from ..audit.chain import unseal
from .script import Job, S, Script


@dataclass(frozen=True, slots=True)
class Row:
    """A segment of a device with all that was metered in it. Times are true, ``boot_start_ns`` is CLOCK_BOOTTIME."""

    boot_id: str
    boot_start_ns: int
    start_ns: int
    end_ns: int
    segment: wire.Segment
    row: wire.DeviceWindow
    records: tuple[wire.UsageRecord, ...]
    uncertainty_ns: int
    """What its edges may be off by, as its records say; without any, as those of the next segment do."""

    @property
    def device_id(self) -> str:
        return self.segment.device_id

    @property
    def unobserved_ns(self) -> int:
        return sum(gap.length_ns for gap in self.row.unobserved)

    @property
    def refused_ns(self) -> int:
        """What a full log did not take."""
        return sum(gap.length_ns for gap in self.row.unobserved if gap.reason == "buffer_full")

    @property
    def inferred_ns(self) -> int:
        return sum(record.inferred_ns for record in self.records)

    @property
    def blind_ns(self) -> int:
        return sum(record.blind_ns for record in self.records)

    @property
    def nameless_ns(self) -> int:
        """What processes had that nobody could ask any more whose they are."""
        return sum(record.allocated_ns for record in self.records if record.workload_id.startswith("?"))

    @property
    def nameless_held_ns(self) -> int:
        return sum(record.held_ns for record in self.records if record.workload_id.startswith("?"))

    def allocated(self) -> dict[tuple[str, str], int]:
        """By kind and id of the workload, where they are known."""
        named = (record for record in self.records if not record.workload_id.startswith("?"))
        return {(record.workload_kind, record.workload_id): record.allocated_ns for record in named}

    def inferred_of(self, who: tuple[str, str]) -> int:
        return sum(each.inferred_ns for each in self.records if (each.workload_kind, each.workload_id) == who)


def subject(job: Job) -> tuple[str, str]:
    return job.kind, job.id


def place_of(script: Script, row: Row) -> str:
    """Where it is, for a person who must look."""
    device = script.device_ids.index(row.device_id)
    return f"device {device}, {row.start_ns / S:.3f} s to {row.end_ns / S:.3f} s ({row.boot_id}):"


def read_batches(ledger: Iterable[bytes]) -> Iterator[wire.Batch]:
    return (wire.Batch.FromString(unseal(raw).payload) for raw in ledger)


def read_rows(script: Script, ledger: Iterable[bytes]) -> list[Row]:
    """The newest revision of each, by device and time."""
    ups = {boot.boot_id: boot.up_ns for boot in script.boots}
    found: dict[tuple[Any, ...], Row] = {}
    for batch in read_batches(ledger):
        records = defaultdict[int, list[wire.UsageRecord]](list)
        for record in batch.records:
            records[record.segment].append(record)
        for row in batch.rows:
            segment, mine = batch.segments[row.segment], tuple(records[row.segment])
            start_ns = segment.boot_start_ns + ups[batch.boot_id]
            found[segment.device_id, start_ns] = Row(
                boot_id=batch.boot_id,
                boot_start_ns=segment.boot_start_ns,
                start_ns=start_ns,
                end_ns=start_ns + segment.length_ns,
                segment=segment,
                row=row,
                records=mine,
                uncertainty_ns=max((each.edge_uncertainty_ns for each in mine), default=0),
            )
    return list(_with_neighbours(script, [found[place] for place in sorted(found)]))[::-1]


def _with_neighbours(script: Script, rows: list[Row]) -> Iterator[Row]:
    """Nobody was seen in a segment without records: that may be off by what the next one says of those who came.

    Where none follows, the one who came last has been seen once at most: two ticks.
    """
    tick_ns = 2 * round(max(script.every_s, script.idle_every_s) * S)
    following: Row | None = None
    for row in reversed(rows):
        if not row.records:
            meets = following is not None and (following.device_id, following.start_ns) == (row.device_id, row.end_ns)
            row = replace(row, uncertainty_ns=following.uncertainty_ns if following and meets else tick_ns)
        yield row
        following = row
