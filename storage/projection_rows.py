"""Usage records and conservation rows as rows of the projection, and back. Nothing is lost on the way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..model.interval import NS_PER_S, Interval
from ..model.usage import (
    ClaimClass,
    ClockState,
    DeviceWindow,
    EnergySource,
    Partition,
    Segment,
    Sharing,
    Slices,
    UsageRecord,
)
from ..model.workload import Owner, Workload
from .projection_numbers import Numbers, Row
from .usage_store import Origin, StoredRow

_LARGE = 10_000
"""Rows held as Python objects before they had better be appended: some 10 MB."""


@dataclass(slots=True)
class Additions:
    """Rows to append, by table."""

    devices: Numbers
    subjects: Numbers
    record: list[Row] = field(default_factory=list[Row])
    device_row: list[Row] = field(default_factory=list[Row])
    unobserved: list[Row] = field(default_factory=list[Row])
    superseded: list[Row] = field(default_factory=list[Row])
    quarantine: list[Row] = field(default_factory=list[Row])
    lost: list[Row] = field(default_factory=list[Row])
    watermark: list[Row] = field(default_factory=list[Row])
    decisions: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    """By the table of their kind."""
    changed_s: set[int] = field(default_factory=set[int])
    """Where windows start (s since 1970) whose sums change: by what is added, and by what is superseded."""

    @property
    def is_large(self) -> bool:
        return len(self.record) + len(self.device_row) >= _LARGE

    def add(self, origin: Origin, row: DeviceWindow, records: Iterable[UsageRecord]) -> None:
        """A segment: its conservation row and its records."""
        segment = row.segment
        device = self._device(origin, segment)
        window_s, rest_ns = divmod(segment.window_start_ns, NS_PER_S)
        self.changed_s.add(window_s)
        place = (origin.log_id, origin.segment_no, device[0], window_s, rest_ns)
        self.device_row.append((*place, *_row_values(row, device[-1])))
        for ordinal, (reason, length_ns) in enumerate(row.unobserved_ns):
            self.unobserved.append((*place[:2], ordinal, reason, length_ns))
        for ordinal, record in enumerate(records):
            self.record.append((*place, ordinal, self._subject_no(record), *_record_values(record)))

    def supersede(self, old: StoredRow, by_log_id: int) -> None:
        self.superseded.append((old.log_id, old.segment_no, by_log_id))
        self.changed_s.add(old.window_s)

    def take(self) -> dict[str, list[Row]]:
        """What there is, by table, and forgets it."""
        taken = {name: getattr(self, name) for name in _TABLES}
        for name in _TABLES:
            setattr(self, name, [])
        decisions, self.decisions = self.decisions, {}
        return {"device": self.devices.take_new(), "subject": self.subjects.take_new(), **taken, **decisions}

    def decide(self, table: str, rows: list[Row]) -> None:
        self.decisions.setdefault(table, []).extend(rows)

    def take_changed(self) -> set[int]:
        taken, self.changed_s = self.changed_s, set()
        return taken

    def _device(self, origin: Origin, segment: Segment) -> Row:
        key = (
            origin.host_id,
            origin.boot_id,
            segment.device_id,
            segment.generation,
            segment.gpu_model,
            segment.window_length_ns,
            segment.clock.value,
            *(segment.slices or _NO_SLICES),
            *(segment.partition or _NO_PARTITION),
        )
        return self.devices.find(key) or self.devices.add(key, (*key, segment.wall_start_ns - segment.boot.start_ns))

    def _subject_no(self, record: UsageRecord) -> int:
        key = (
            record.workload,
            record.session_id,
            record.owner,
            record.claim,
            record.sharing,
            record.sharing_version,
            record.outside_claim,
            record.rules_version,
            record.evidence,
            record.edges,
        )
        row = self.subjects.find(key) or self.subjects.add(key, _subject_columns(record))
        number: int = row[0]
        return number


_TABLES: Final = ("record", "device_row", "unobserved", "superseded", "quarantine", "lost", "watermark")
_NO_SLICES: Final = (None,) * len(Slices._fields)
_NO_PARTITION: Final = (None,) * len(Partition._fields)
_PARTITION: Final = ("partition_compute", "partition_memory")


def device_key_of(row: Row) -> Row:
    """The key of a row of ``device``."""
    return row[1:-1]


def subject_key_of(row: Row) -> Row:
    """The key of a row of ``subject``."""
    _, kind, name, session, tenant, project, rule, reason, tags, claim, sharing, version, outside, *rest = row
    owner = Owner(tenant, project, rule, reason, _pairs(tags))
    return Workload(kind, name), session, owner, ClaimClass(claim), Sharing(sharing), version, outside, *rest


def _subject_columns(record: UsageRecord) -> Row:
    owner = record.owner
    return (
        record.workload.kind,
        record.workload.id,
        record.session_id,
        owner.tenant,
        owner.project,
        owner.rule,
        owner.reason,
        [part for tag in owner.tags for part in tag],
        record.claim.value,
        record.sharing.value,
        record.sharing_version,
        record.outside_claim,
        record.rules_version,
        record.evidence,
        record.edges,
    )


def _record_values(record: UsageRecord) -> Row:
    return (
        record.revision,
        record.allocated_ns,
        record.held_ns,
        record.blind_ns,
        record.inferred_ns,
        record.busy_ns,
        record.busy_known_ns,
        record.gpu_memory_byte_ms,
        record.energy_mj,
        record.edge_uncertainty_ns,
    )


def _row_values(row: DeviceWindow, base_ns: int) -> Row:
    segment, start_mj, end_mj = row.segment, row.energy_start_mj, row.energy_end_mj
    return (
        segment.wall_start_ns - segment.window_start_ns,
        segment.boot.start_ns - segment.wall_start_ns + base_ns,
        segment.boot.length_ns,
        row.revision,
        row.idle_ns,
        row.unobserved_total_ns,
        row.record_count,
        start_mj,
        None if end_mj is None else end_mj - (start_mj or 0),
        row.idle_energy_mj,
        row.unobserved_energy_mj,
        row.energy_source.value,
        row.interval_ns,
        row.stranded_compute_ns,
        row.stranded_memory_ns,
    )


def record_of(columns: Mapping[str, Any]) -> UsageRecord:
    """The usage record of a row of ``record`` and of what it names, by column name."""
    return UsageRecord(
        segment=segment_of(columns),
        workload=Workload(columns["workload_kind"], columns["workload_id"]),
        owner=Owner(columns["tenant"], columns["project"], columns["rule"], columns["reason"], _pairs(columns["tags"])),
        claim=ClaimClass(columns["claim"]),
        sharing=Sharing(columns["sharing"]),
        **{name: columns[name] for name in _SAME_IN_RECORD},
    )


def row_of(
    columns: Mapping[str, Any], unobserved_ns: tuple[tuple[str, int], ...], records_digest: bytes
) -> DeviceWindow:
    """The conservation row of a row of ``device_row``, by column name, and of what is not in that row."""
    return DeviceWindow(
        segment=segment_of(columns),
        unobserved_ns=unobserved_ns,
        records_digest=records_digest,
        energy_source=EnergySource(columns["energy_source"]),
        **{name: columns[name] for name in _SAME_IN_ROW},
    )


_SAME_IN_RECORD: Final = (
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
_SAME_IN_ROW: Final = (
    "idle_ns",
    "record_count",
    "energy_start_mj",
    "energy_end_mj",
    "idle_energy_mj",
    "unobserved_energy_mj",
    "interval_ns",
    "stranded_compute_ns",
    "stranded_memory_ns",
    "revision",
)


def segment_of(columns: Mapping[str, Any]) -> Segment:
    """The segment of a row of ``device_row``, by column name."""
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


def _pairs(tags: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple(zip(tags[::2], tags[1::2], strict=True))
