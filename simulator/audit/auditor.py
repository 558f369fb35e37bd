"""Takes frames in the order in which their host made them, and says what does not hold."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...proto.v1 import usage_pb2 as wire
from .chain import Chains, NoFrame, Sealed, unseal
from .course import DeviceLife, Host, Span, span_of
from .family import Families
from .segment import check_segment

MAX_VIOLATIONS = 1_000
"""What is told at most: whoever reads the first few has enough to look for."""


def audit(frames: Iterable[bytes]) -> list[str]:
    """Every violation in these frames, in words; none means that the law holds for them."""
    auditor = Auditor()
    for raw in frames:
        auditor.take(raw)
    return auditor.finish()


@dataclass(slots=True)
class Auditor:
    """Of any number of hosts; each stream's frames come in order. Memory grows by some 200 bytes a row."""

    violations: list[str] = field(default_factory=list[str])
    rows: int = 0
    records: int = 0
    _chains: Chains = field(default_factory=Chains)
    _hosts: defaultdict[str, Host] = field(default_factory=lambda: defaultdict[str, Host](Host))
    _known: dict[tuple[DeviceLife, int], tuple[Span, int]] = field(
        default_factory=dict[tuple[DeviceLife, int], tuple[Span, int]]
    )
    """Each segment's span and newest revision."""
    _families: Families = field(default_factory=Families)

    def take(self, raw: bytes) -> None:
        """One frame: its bytes as they are stored and sent."""
        try:
            sealed = unseal(raw)
            batch = wire.Batch.FromString(sealed.payload)
        except NoFrame as error:
            self._tell("", str(error))
        except Exception as error:  # protobuf's own, which only proto/ may name
            self._tell("", f"the payload of a frame is no batch: {error}")
        else:
            self._take_batch(sealed, batch)

    def finish(self) -> list[str]:
        """After the last frame: what only all of them together can tell."""
        self._tell("", *self._families.check())
        return self.violations

    def _take_batch(self, sealed: Sealed, batch: wire.Batch) -> None:
        where = f"{batch.host_id}/{batch.boot_id} frame {sealed.seq}"
        self._tell(where, self._chains.follow(batch.host_id, sealed))
        if sealed.records != len(batch.records):
            self._tell(where, f"holds {len(batch.records)} records, its header says {sealed.records}")
        host = self._hosts[batch.host_id]
        host.enter(batch.boot_id)
        for gap in batch.host_gaps:
            host.take_gap(gap)
        for up in batch.hosts:
            self._tell(f"{where}: the host's row at {up.boot_start_ns}", *host.take_host(up))
        if self._refers_well(where, batch):
            self._take_rows(where, batch)
        for event in batch.events:
            host.take_event(event)
        if batch.HasField("complete_through_ns"):
            self._tell(where, *host.take_watermark(batch.complete_through_ns))

    def _refers_well(self, where: str, batch: wire.Batch) -> bool:
        """Whether each segment has one row, and each record a segment."""
        count = len(batch.segments)
        told = sorted(row.segment for row in batch.rows)
        fits = told == list(range(count)) and all(record.segment < count for record in batch.records)
        if not fits:
            self._tell(where, f"has rows for the segments {told} of {count}, or a record of none")
        return fits

    def _take_rows(self, where: str, batch: wire.Batch) -> None:
        records = defaultdict[int, list[wire.UsageRecord]](list)
        for record in batch.records:
            records[record.segment].append(record)
        for row in batch.rows:
            segment = batch.segments[row.segment]
            life = DeviceLife(batch.host_id, batch.boot_id, segment.device_id, segment.generation)
            place = f"{where}: {life.device_id} generation {life.generation} at {segment.boot_start_ns}"
            self._tell(place, *check_segment(segment, row, records[row.segment]))
            self._tell(place, *_check_subjects(records[row.segment]))
            self._tell(place, *self._place(life, span_of(segment), row.revision))
            self._families.take(life, segment, row)
        self.rows += len(batch.rows)
        self.records += len(batch.records)

    def _place(self, life: DeviceLife, span: Span, revision: int) -> Iterator[str]:
        """A new segment follows the one before it; a revision repeats the place of what it replaces."""
        before = self._known.get((life, span.start_ns))
        self._known[life, span.start_ns] = span, revision
        if before is None:
            if revision:
                yield f"is revision {revision} of a segment that never was"
            yield from self._hosts[life.host_id].take_row(life, span)
        elif before != (span, revision - 1):
            yield f"comes again as revision {revision} of {span}, after revision {before[1]} of {before[0]}"

    def _tell(self, where: str, *found: str | None) -> None:
        room = MAX_VIOLATIONS - len(self.violations)
        self.violations += [f"{where}: {what}".removeprefix(": ") for what in found if what is not None][:room]


def _check_subjects(records: list[wire.UsageRecord]) -> Iterator[str]:
    """With a device's segments apart, this makes usage keys unique: no tenant is in them, so two would be one."""
    subjects = [(record.workload_kind, record.workload_id, record.session_id) for record in records]
    if len(set(subjects)) != len(subjects):
        yield "counts a workload twice"
