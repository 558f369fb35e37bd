"""The ledger's rows in true time, by wire alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ...proto.v1 import usage_pb2 as wire
from ..audit.chain import unseal
from .script import Job, Script


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
    def inferred_ns(self) -> int:
        return sum(record.inferred_ns for record in self.records)

    def allocated(self) -> dict[tuple[str, str], int]:
        """By kind and id of the workload."""
        found = defaultdict[tuple[str, str], int](int)
        for record in self.records:
            found[record.workload_kind, record.workload_id] += record.allocated_ns
        return found


def subject(job: Job) -> tuple[str, str]:
    return job.kind, job.id


def read_rows(script: Script, ledger: Iterable[bytes]) -> list[Row]:
    """The newest revision of each, by device and time."""
    ups = {boot.boot_id: boot.up_ns for boot in script.boots}
    found: dict[tuple[Any, ...], Row] = {}
    for raw in ledger:
        batch = wire.Batch.FromString(unseal(raw).payload)
        records = defaultdict[int, list[wire.UsageRecord]](list)
        for record in batch.records:
            records[record.segment].append(record)
        for row in batch.rows:
            segment = batch.segments[row.segment]
            start_ns = segment.boot_start_ns + ups[batch.boot_id]
            place = segment.device_id, segment.generation, start_ns
            found[place] = Row(
                boot_id=batch.boot_id,
                boot_start_ns=segment.boot_start_ns,
                start_ns=start_ns,
                end_ns=start_ns + segment.length_ns,
                segment=segment,
                row=row,
                records=tuple(records[row.segment]),
                uncertainty_ns=max((each.edge_uncertainty_ns for each in records[row.segment]), default=0),
            )
    return list(_with_neighbours([found[place] for place in sorted(found)]))


def _with_neighbours(rows: list[Row]) -> Iterator[Row]:
    """Nobody was seen in a segment without records: that may be off by what the next one says of those who came."""
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if not row.records and following is not None and following.start_ns == row.end_ns:
            yield replace(row, uncertainty_ns=following.uncertainty_ns)
        else:
            yield row
