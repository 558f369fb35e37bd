"""Usage records and conservation rows as rows of the projection, and back. Nothing is lost on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.identity import row_digest, usage_key
from ..model.interval import Interval
from ..model.usage import ClaimClass, ClockState, DeviceWindow, Partition, Segment, Sharing, Slices, UsageRecord
from ..model.workload import Owner, Workload

Row = tuple[Any, ...]
_LARGE = 10_000
"""Rows held as Python objects before they had better be appended: some 20 MB."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a segment came from: the log entry, its number there, and whose it is."""

    log_id: int
    segment_no: int
    host_id: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A conservation row that is already there and in force."""

    log_id: int
    segment_no: int
    interval: Interval
    revision: int
    digest: bytes


@dataclass(slots=True)
class Additions:
    """Rows to append, by table."""

    record: list[Row] = field(default_factory=list[Row])
    device_row: list[Row] = field(default_factory=list[Row])
    superseded: list[Row] = field(default_factory=list[Row])
    quarantine: list[Row] = field(default_factory=list[Row])
    lost: list[Row] = field(default_factory=list[Row])
    watermark: list[Row] = field(default_factory=list[Row])
    decisions: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    """By the table of their kind."""

    @property
    def is_large(self) -> bool:
        return len(self.record) + len(self.device_row) >= _LARGE

    def take(self) -> dict[str, list[Row]]:
        """What there is, by table, and forgets it."""
        names = [name for name in self.__slots__ if name != "decisions"]
        taken = {name: getattr(self, name) for name in names} | self.decisions
        for name in names:
            setattr(self, name, [])
        self.decisions = {}
        return taken

    def decide(self, table: str, rows: list[Row]) -> None:
        self.decisions.setdefault(table, []).extend(rows)


def record_row(origin: Origin, ordinal: int, record: UsageRecord) -> Row:
    owner = record.owner
    return (
        *_segment_values(origin, record.segment),
        ordinal,
        usage_key(origin.host_id, origin.boot_id, record),
        record.workload.kind,
        record.workload.id,
        record.session_id,
        record.revision,
        owner.tenant,
        owner.project,
        owner.rule,
        owner.reason,
        [part for tag in owner.tags for part in tag],
        record.allocated_ns,
        record.held_ns,
        record.blind_ns,
        record.inferred_ns,
        record.busy_ns,
        record.busy_known_ns,
        record.gpu_memory_byte_ms,
        record.energy_mj,
        record.claim.value,
        record.sharing.value,
        record.outside_claim,
        record.edge_uncertainty_ns,
        record.rules_version,
        record.evidence,
        record.sharing_version,
        record.edges,
    )


def device_row(origin: Origin, row: DeviceWindow) -> Row:
    return (
        *_segment_values(origin, row.segment),
        row.revision,
        row_digest(row),
        row.idle_ns,
        row.unobserved_total_ns,
        [reason for reason, _ in row.unobserved_ns],
        [length_ns for _, length_ns in row.unobserved_ns],
        row.record_count,
        row.records_digest,
        row.energy_start_mj,
        row.energy_end_mj,
        row.idle_energy_mj,
        row.unobserved_energy_mj,
        row.energy_source.value,
        row.interval_ns,
        row.stranded_compute_ns,
        row.stranded_memory_ns,
    )


def record_of(columns: Mapping[str, Any]) -> UsageRecord:
    """The usage record of a row of ``record``, by column name."""
    tags: Sequence[str] = columns["tags"]
    return UsageRecord(
        segment=_segment_of(columns),
        workload=Workload(columns["workload_kind"], columns["workload_id"]),
        owner=Owner(
            columns["tenant"],
            columns["project"],
            columns["rule"],
            columns["reason"],
            tuple(zip(tags[::2], tags[1::2], strict=True)),
        ),
        claim=ClaimClass(columns["claim"]),
        sharing=Sharing(columns["sharing"]),
        **{name: columns[name] for name in _SAME_NAME},
    )


_SAME_NAME = (
    "session_id",
    "revision",
    "allocated_ns",
    "held_ns",
    "blind_ns",
    "inferred_ns",
    "busy_ns",
    "busy_known_ns",
    "gpu_memory_byte_ms",
    "energy_mj",
    "outside_claim",
    "edge_uncertainty_ns",
    "rules_version",
    "evidence",
    "sharing_version",
    "edges",
)


_PARTITION = ("partition_compute", "partition_memory")


def _segment_values(origin: Origin, segment: Segment) -> Row:
    return (
        origin.log_id,
        origin.segment_no,
        origin.host_id,
        origin.boot_id,
        segment.device_id,
        segment.generation,
        segment.gpu_model,
        segment.boot.start_ns,
        segment.boot.length_ns,
        segment.wall_start_ns,
        segment.window_start_ns,
        segment.window_length_ns,
        segment.clock.value,
        *(segment.slices or (None,) * len(Slices._fields)),
        *(segment.partition or (None,) * len(Partition._fields)),
    )


def _segment_of(columns: Mapping[str, Any]) -> Segment:
    start_ns = columns["boot_start_ns"]
    return Segment(
        columns["device_id"],
        columns["generation"],
        columns["gpu_model"],
        Interval(start_ns, start_ns + columns["length_ns"]),
        columns["wall_start_ns"],
        columns["window_start_ns"],
        columns["window_length_ns"],
        ClockState(columns["clock"]),
        None if columns["parent_id"] is None else Slices._make(columns[name] for name in Slices._fields),
        None if columns["partition_compute"] is None else Partition._make(columns[name] for name in _PARTITION),
    )
