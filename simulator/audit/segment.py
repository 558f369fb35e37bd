"""The law within one segment: its records and its conservation row, and nothing else, decide."""

from collections.abc import Iterator, Sequence

from ...proto.v1 import usage_pb2 as wire
from .canonical import records_digest

SLEW_NS = 100_000_000
"""The wall clock may have been slewed by so much within a window; more is a step, and cuts the segment."""
_CLOCKS = frozenset({"unknown", "synced", "unsynced", "stepped"})
_SOURCES = frozenset({"counter", "power", "slices"})
_CLASSES = frozenset({"scheduler", "lease", "process"})
_NS_PER_S = 1_000_000_000


def check_segment(segment: wire.Segment, row: wire.DeviceWindow, records: Sequence[wire.UsageRecord]) -> Iterator[str]:
    """What does not hold, in words."""
    yield from _check_time(segment, row, records)
    yield from _check_energy(row, records)
    yield from check_window(segment)
    if segment.clock not in _CLOCKS:
        yield f"knows a clock that is {segment.clock!r}"
    yield from _check_gaps(row)
    if row.record_count != len(records):
        yield f"has {len(records)} records, its row says {row.record_count}"
    if row.records_digest != records_digest(segment, records):
        yield "has other records than its row was made for: the digest differs"
    if any(record.revision != row.revision for record in records):
        yield "mixes revisions: a group is revised as a whole"
    for record in records:
        yield from _check_record(segment, record)


def _check_time(segment: wire.Segment, row: wire.DeviceWindow, records: Sequence[wire.UsageRecord]) -> Iterator[str]:
    allocated_ns = sum(record.allocated_ns for record in records)
    unobserved_ns = sum(gap.length_ns for gap in row.unobserved)
    accounted_ns = allocated_ns + row.idle_ns + unobserved_ns
    # A GPU in MIG mode has no time of its own: its instances have it, and family.py adds them up.
    existed_ns = 0 if segment.HasField("partition") else segment.length_ns
    if accounted_ns != existed_ns:
        yield f"accounts for {accounted_ns} ns of {existed_ns} ns"
    if not segment.HasField("partition") and (row.stranded_compute_ns or row.stranded_memory_ns):
        yield "has stranded slices, and is no GPU in MIG mode"
    if segment.length_ns == 0:
        yield "is empty"
    busy_ns = sum(record.busy_ns for record in records)
    # What division by 100 leaves over is carried from segment to segment: a nanosecond for each record.
    if busy_ns > segment.length_ns + len(records):
        yield f"was busy for {busy_ns} ns of {segment.length_ns} ns"


def _check_energy(row: wire.DeviceWindow, records: Sequence[wire.UsageRecord]) -> Iterator[str]:
    spent_mj = sum(record.energy_mj for record in records) + row.idle_energy_mj + row.unobserved_energy_mj
    if row.HasField("energy_start_mj") != row.HasField("energy_end_mj"):
        yield "has a counter at one of its ends only"
    elif not row.HasField("energy_start_mj"):
        if spent_mj or row.energy_source or any(record.HasField("energy_mj") for record in records):
            yield f"spends {spent_mj} mJ that nothing counted"
    elif row.energy_source not in _SOURCES:
        yield f"has its energy from {row.energy_source!r}"
    elif spent_mj != row.energy_end_mj - row.energy_start_mj:
        yield f"accounts for {spent_mj} mJ of {row.energy_end_mj - row.energy_start_mj} mJ"


def check_window(segment: wire.Segment | wire.HostWindow | wire.WorkloadWindow) -> Iterator[str]:
    """Whether the window is on its grid, and what it names lies inside."""
    length_ns = segment.window_length_ns
    if not length_ns or length_ns % _NS_PER_S or segment.window_start_ns % length_ns:
        yield f"has a window at {segment.window_start_ns} that is not on the grid of {length_ns} ns"
        return
    from_ns = segment.wall_start_ns - segment.window_start_ns
    if from_ns < -SLEW_NS or from_ns + segment.length_ns > length_ns + SLEW_NS:
        yield f"lies {from_ns} to {from_ns + segment.length_ns} ns after the start of its window of {length_ns} ns"


def _check_gaps(row: wire.DeviceWindow) -> Iterator[str]:
    reasons = [gap.reason for gap in row.unobserved]
    if reasons != sorted(set(reasons)) or not all(gap.length_ns and gap.reason for gap in row.unobserved):
        yield f"lists its gaps twice, empty or out of order: {', '.join(reasons)}"


def _check_record(segment: wire.Segment, record: wire.UsageRecord) -> Iterator[str]:
    who = f"{record.workload_kind}:{record.workload_id}"
    if record.claim not in _CLASSES or (record.sharing == "claimed") == (record.claim == "process"):
        yield f"gives {who} its share as {record.claim!r} by {record.sharing!r}"
    if record.blind_ns > record.allocated_ns or record.inferred_ns > record.allocated_ns:
        yield f"gives {who} more blind or inferred time than it has"
    if record.outside_claim and record.allocated_ns:
        yield f"gives {who} time that somebody else has claimed"
    if record.held_ns > segment.length_ns or record.busy_known_ns > segment.length_ns:
        yield f"lasts {segment.length_ns} ns; {who} held it for {record.held_ns}, known for {record.busy_known_ns}"
    if record.busy_ns > record.busy_known_ns + 1:
        yield f"knows of {record.busy_known_ns} ns how busy {who} was, and it was for {record.busy_ns} ns"
    if (record.owner.tenant == "unattributed") != bool(record.owner.reason):
        yield f"says of {who} that {record.owner.tenant!r} has it because {record.owner.reason!r}"
