"""The one law, as a check that knows nothing of how the numbers were made."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .identity import records_digest
from .interval import Interval
from .usage import Batch, DeviceWindow, Segment, UsageRecord


@dataclass(frozen=True, slots=True)
class Violation:
    """A place where the law does not hold, in words for the person who must look."""

    device_id: str
    boot_start_ns: int
    what: str


def check_batch(batch: Batch) -> list[Violation]:
    """Every segment of the batch against its conservation row: time, energy, count, digest."""
    by_segment: defaultdict[Segment, list[UsageRecord]] = defaultdict(list)
    for record in batch.records:
        by_segment[record.segment].append(record)
    found = [v for row in batch.rows for v in check_row(row, by_segment.pop(row.segment, []))]
    found += [_violation(s, f"{len(r)} records without a conservation row") for s, r in by_segment.items()]
    return found


def check_row(row: DeviceWindow, records: list[UsageRecord]) -> Iterator[Violation]:
    """One segment against its conservation row; ``records`` are those that name it."""
    segment = row.segment
    yield from _check_slices(segment)
    yield from _check_partition(row, records) if segment.partition else _check_time(row, records)
    if min(_amounts(row, records)) < 0:
        yield _violation(segment, "holds a negative amount")
    if any(max(r.blind_ns, r.inferred_ns) > r.allocated_ns for r in records):
        yield _violation(segment, "has more blind or inferred than allocated time")
    if any(r.outside_claim and r.allocated_ns for r in records):
        yield _violation(segment, "shares its time with somebody outside the claims on it")
    if row.record_count != len(records) or row.records_digest != records_digest(records):
        yield _violation(segment, f"has {len(records)} records that are not the {row.record_count} its row names")
    yield from _check_energy(row, records)


MOST_SLICES = 64
"""Of a GPU; no board has more than eight. Usage is summed in parts of a GPU, which must stay numbers."""


def _check_slices(segment: Segment) -> Iterator[Violation]:
    slices, partition = segment.slices, segment.partition
    parts = [] if slices is None else [(slices.compute, slices.compute_of), (slices.memory, slices.memory_of)]
    whole = [] if partition is None else [(of, of) for of in partition]
    if any(not (0 <= part <= of and 1 <= of <= MOST_SLICES) for part, of in (*parts, *whole)):
        yield _violation(segment, "has slices that cannot be")


def _check_time(row: DeviceWindow, records: list[UsageRecord]) -> Iterator[Violation]:
    accounted_ns = sum(record.allocated_ns for record in records) + row.idle_ns + row.unobserved_total_ns
    if accounted_ns != row.segment.boot.length_ns:
        yield _violation(row.segment, f"accounts for {accounted_ns} ns of {row.segment.boot.length_ns} ns")


def _check_partition(row: DeviceWindow, records: list[UsageRecord]) -> Iterator[Violation]:
    """A GPU in MIG mode has only what no instance has; who has the rest, the instances' rows say."""
    if records or row.idle_ns or row.unobserved_ns:
        yield _violation(row.segment, "is in MIG mode and accounts for time that its instances have")
    length_ns, partition = row.segment.boot.length_ns, row.segment.partition
    assert partition is not None
    if row.stranded_compute_ns > partition.compute_of * length_ns:
        yield _violation(row.segment, "has more stranded compute slices than slices")
    if row.stranded_memory_ns > partition.memory_of * length_ns:
        yield _violation(row.segment, "has more stranded memory slices than slices")


def _check_energy(row: DeviceWindow, records: list[UsageRecord]) -> Iterator[Violation]:
    if row.energy_start_mj is None or row.energy_end_mj is None:
        return
    spent_mj = sum(record.energy_mj or 0 for record in records) + row.idle_energy_mj + row.unobserved_energy_mj
    counted_mj = row.energy_end_mj - row.energy_start_mj
    if spent_mj != counted_mj:
        yield _violation(row.segment, f"accounts for {spent_mj} mJ of {counted_mj} mJ")


def _amounts(row: DeviceWindow, records: list[UsageRecord]) -> list[int]:
    amounts = [row.idle_ns, row.idle_energy_mj, row.unobserved_energy_mj]
    amounts += row.stranded_compute_ns, row.stranded_memory_ns
    amounts += [length_ns for _, length_ns in row.unobserved_ns]
    for record in records:
        amounts += record.allocated_ns, record.held_ns, record.blind_ns, record.inferred_ns
    return amounts


def _violation(segment: Segment, what: str) -> Violation:
    return Violation(segment.device_id, segment.boot.start_ns, what)


def check_families(rows: Iterable[DeviceWindow]) -> list[Violation]:
    """The law of MIG, for all rows of one host and boot: of * length = sum of slices * length + stranded.

    Rows of a family need not begin and end together: each counts where it overlaps its GPU's.
    """
    instances: defaultdict[str, list[Segment]] = defaultdict(list)
    parents: list[DeviceWindow] = []
    for row in rows:
        if row.segment.slices is not None:
            instances[row.segment.slices.parent_id].append(row.segment)
        if row.segment.partition is not None:
            parents.append(row)
    return [v for row in parents for v in _check_family(row, instances[row.segment.device_id])]


def _check_family(row: DeviceWindow, instances: list[Segment]) -> Iterator[Violation]:
    partition = row.segment.partition
    assert partition is not None
    had = [(i.slices, overlap_ns(i.boot, row.segment.boot)) for i in instances if i.slices is not None]
    for name, whole, found, stranded_ns in (
        ("compute", partition.compute_of, sum(s.compute * ns for s, ns in had), row.stranded_compute_ns),
        ("memory", partition.memory_of, sum(s.memory * ns for s, ns in had), row.stranded_memory_ns),
    ):
        if found + stranded_ns != whole * row.segment.boot.length_ns:
            told = f"{found + stranded_ns} of {whole * row.segment.boot.length_ns} {name} slice-ns"
            yield _violation(row.segment, f"and its instances account for {told}")


def overlap_ns(one: Interval, other: Interval) -> int:
    """How long both last together."""
    return max(min(one.end_ns, other.end_ns) - max(one.start_ns, other.start_ns), 0)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the segments of one (host, boot, device) cover its time."""

    holes: tuple[Interval, ...]
    overlaps: tuple[Interval, ...]


def tile(segments: Iterable[Interval]) -> Tiling:
    """Holes mean loss, overlaps mean that something was metered twice."""
    holes: list[Interval] = []
    overlaps: list[Interval] = []
    end_ns: int | None = None
    for segment in sorted(segments):
        if end_ns is not None and segment.start_ns > end_ns:
            holes.append(Interval(end_ns, segment.start_ns))
        if end_ns is not None and segment.start_ns < end_ns:
            overlaps.append(Interval(segment.start_ns, min(end_ns, segment.end_ns)))
        end_ns = segment.end_ns if end_ns is None else max(end_ns, segment.end_ns)
    return Tiling(tuple(holes), tuple(overlaps))
