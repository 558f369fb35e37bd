"""A host that says what it is told to have metered, and streams it to a real collector over real gRPC.

For numbers that must come out exactly: statements such as "Org-A held this GPU from
then to then" become segments, usage records and conservation rows as a daemon would
have written them, framed and chained, without a driver or a clock.
"""

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ..model.identity import records_digest
from ..model.interval import NS_PER_S, Interval
from ..model.usage import (
    Batch,
    ClaimClass,
    ClockState,
    DeviceWindow,
    Partition,
    Segment,
    Sharing,
    Slices,
    UsageRecord,
)
from ..model.workload import Owner, Workload
from ..proto.convert import encode_batch
from ..storage.frame import EPOCH_BYTES, MAX_RECORDS, Frame, genesis_hash, make_frame

MINUTE_NS: Final = 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Use:
    """One device was held by one organisation from then to then (ns since 1970, UTC), metered in windows.

    ``org`` None: nobody held it. ``unobserved``: nobody could look, and why.
    """

    device_id: str
    gpu_model: str
    org: str | None
    span: Interval
    window_ns: int = MINUTE_NS
    project: str = ""
    workload: Workload | None = None
    unobserved: str = ""
    generation: int = 0
    slices: Slices | None = None
    partition: Partition | None = None
    stranded: tuple[int, int] = (0, 0)
    """Of a GPU in MIG mode: compute and memory slices that no instance has."""
    lease: bool = False
    """The organisation has leased it, and no process uses it."""


@dataclass(slots=True)
class SimulatedHost:
    """One host, one boot, one log. Uses of one device must not overlap."""

    host_id: str
    boot_id: str = "boot-1"
    booted_ns: int = 0
    """The wall clock when CLOCK_BOOTTIME was zero."""
    epoch: bytes = field(default_factory=lambda: os.urandom(EPOCH_BYTES))
    uses: list[Use] = field(default_factory=list[Use])
    records_per_frame: int = MAX_RECORDS

    def hold(self, device_id: str, gpu_model: str, org: str | None, span: Interval, window_ns: int = MINUTE_NS) -> None:
        """Adds a Use; ``org`` None for an idle device."""
        self.uses.append(Use(device_id, gpu_model, org, span, window_ns))

    def batches(self) -> Iterator[Batch]:
        """All uses in order of their windows, whole windows first, each batch with the watermark it allows."""
        parts = heapq.merge(*(_cut(use) for use in self.uses), key=lambda part: part[1].start_ns)
        pending: list[DeviceWindow] = []
        records: list[UsageRecord] = []
        latest_ns = 0
        for use, span in parts:
            if len(pending) == self.records_per_frame:
                yield self._batch(pending, records, _window_start(use, span))
                pending, records = [], []
            row, record = self._account(use, span)
            pending.append(row)
            records += [record] if record else []
            latest_ns = max(latest_ns, _window_start(use, span) + use.window_ns)
        if pending:
            yield self._batch(pending, records, latest_ns)

    def frames(self) -> Iterator[Frame]:
        """The batches as a chain of frames from seq 1."""
        return chain(self.host_id, self.epoch, self.batches())

    def _batch(self, rows: Sequence[DeviceWindow], records: Sequence[UsageRecord], through_ns: int) -> Batch:
        return Batch(self.host_id, self.boot_id, tuple(records), tuple(rows), through_ns)

    def _account(self, use: Use, span: Interval) -> tuple[DeviceWindow, UsageRecord | None]:
        segment = self._segment(use, span)
        length_ns = span.length_ns
        if use.partition is not None:
            compute, memory = (slices * length_ns for slices in use.stranded)
            empty = DeviceWindow(segment, 0, (), 0, records_digest([]))
            return replace(empty, stranded_compute_ns=compute, stranded_memory_ns=memory), None
        if use.unobserved:
            lost = ((use.unobserved, length_ns),)
            return DeviceWindow(segment, 0, lost, 0, records_digest([])), None
        if use.org is None:
            return DeviceWindow(segment, length_ns, (), 0, records_digest([])), None
        workload = use.workload or Workload("docker", f"{use.org}-job")
        record = UsageRecord(segment, workload, Owner(use.org, use.project, "simulated"), length_ns, length_ns)
        if use.lease:
            record = replace(record, held_ns=0, claim=ClaimClass.LEASE, sharing=Sharing.CLAIMED)
        return DeviceWindow(segment, 0, (), 1, records_digest([record])), record

    def _segment(self, use: Use, span: Interval) -> Segment:
        return Segment(
            device_id=use.device_id,
            generation=use.generation,
            gpu_model=use.gpu_model,
            boot=Interval(span.start_ns - self.booted_ns, span.end_ns - self.booted_ns),
            wall_start_ns=span.start_ns,
            window_start_ns=_window_start(use, span),
            window_length_ns=use.window_ns,
            clock=ClockState.SYNCED,
            slices=use.slices,
            partition=use.partition,
        )


def chain(host_id: str, epoch: bytes, batches: Iterable[Batch]) -> Iterator[Frame]:
    """Seals batches into frames, each following the one before; halves a batch that is too large for one."""
    previous, seq = genesis_hash(host_id, epoch), 1
    for batch in batches:
        for part in _fitting(batch):
            frame = make_frame(epoch, seq, previous, len(part.records), encode_batch(part))
            yield frame
            previous, seq = frame.hash, seq + 1


def _fitting(batch: Batch) -> Iterator[Batch]:
    try:
        make_frame(b"", 1, b"", len(batch.records), encode_batch(batch))
        yield batch
    except ValueError:
        half = len(batch.rows) // 2
        for rows in (batch.rows[:half], batch.rows[half:]):
            named = {row.segment for row in rows}
            records = tuple(record for record in batch.records if record.segment in named)
            through_ns = batch.complete_through_ns if rows[-1] is batch.rows[-1] else None
            yield from _fitting(replace(batch, rows=rows, records=records, complete_through_ns=through_ns))


def _cut(use: Use) -> Iterator[tuple[Use, Interval]]:
    """The use, cut at the edges of its windows."""
    start_ns = use.span.start_ns
    while start_ns < use.span.end_ns:
        end_ns = min(start_ns - start_ns % use.window_ns + use.window_ns, use.span.end_ns)
        yield use, Interval(start_ns, end_ns)
        start_ns = end_ns


def _window_start(use: Use, span: Interval) -> int:
    return span.start_ns - span.start_ns % use.window_ns
