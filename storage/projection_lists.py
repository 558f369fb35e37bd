"""Pages of what the projection holds, row by row. Every page is bounded by its caller."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..model.identity import record_digest
from ..model.usage import UsageRecord
from .projection import HostState
from .projection_reader import Snapshot
from .projection_rows import record_of
from .projection_schema import QUARANTINE, RECORD
from .projection_sql import AsSent, in_force
from .usage_query import Scope

RecordPlace = tuple[int, int, int]
"""Where a record stands in the log: log id, number of its segment there, its number in the segment."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A usage record in force, and what is not in it but identifies it."""

    place: RecordPlace
    host_id: str
    boot_id: str
    usage_key: bytes
    record: UsageRecord

    @property
    def digest(self) -> bytes:
        """Computed from what is stored: were anything lost on the way, it would not be the sender's."""
        return record_digest(self.record)


@dataclass(frozen=True, slots=True)
class Picked:
    """Which records of a scope; None: whichever. ``voided``: those that a correction has voided, and no others."""

    host_id: str | None = None
    workload: str | None = None
    """kind:id"""
    voided: bool = False
    sent: AsSent | None = None
    """As their hosts sent them."""


def records(
    snapshot: Snapshot, scope: Scope, after: RecordPlace, limit: int, picked: Picked = Picked()
) -> list[StoredRecord]:
    """Records in scope behind ``after``, in the order of the log."""
    where = "(log_id > ? OR (log_id = ? AND (segment_no > ? OR (segment_no = ? AND ordinal > ?))))"
    more: list[Any] = [after[0], *after[:2], *after[1:]]
    if picked.host_id is not None:
        where, more = f"{where} AND host_id = ?", [*more, picked.host_id]
    if picked.workload is not None:
        kind, _, name = picked.workload.partition(":")
        where, more = f"{where} AND workload_kind = ? AND workload_id = ?", [*more, kind, name]
    return _records(snapshot, scope, picked, f"WHERE {where}", more, limit)


def records_at(
    snapshot: Snapshot,
    scope: Scope,
    places: Sequence[RecordPlace],
    *,
    voided: bool = False,
    sent: AsSent | None = None,
) -> list[StoredRecord]:
    """Those of these places that are in force, in the order of the log."""
    columns = [list(column) for column in zip(*places, strict=True)]
    join = (
        "JOIN (SELECT unnest(?::BIGINT[]) AS log_id, unnest(?::INTEGER[]) AS segment_no,"
        " unnest(?::INTEGER[]) AS ordinal) USING (log_id, segment_no, ordinal)"
    )
    return _records(snapshot, scope, Picked(voided=voided, sent=sent), join, columns, len(places))


def _records(
    snapshot: Snapshot, scope: Scope, picked: Picked, rest: str, more: list[Any], limit: int
) -> list[StoredRecord]:
    relation, parameters = in_force("record", scope, voided=picked.voided, sent=picked.sent)
    names = [name for name, _ in RECORD]
    found = snapshot.db.execute(
        f"SELECT {', '.join(names)} FROM {relation} {rest} ORDER BY log_id, segment_no, ordinal LIMIT ?",
        [*parameters, *more, limit],
    ).fetchall()
    return [_stored_record(dict(zip(names, row, strict=True))) for row in found]


def _stored_record(columns: dict[str, Any]) -> StoredRecord:
    place = columns["log_id"], columns["segment_no"], columns["ordinal"]
    return StoredRecord(place, columns["host_id"], columns["boot_id"], columns["usage_key"], record_of(columns))


def hosts(snapshot: Snapshot, offset: int, limit: int) -> tuple[list[HostState], int]:
    """(a page of hosts by name, how many there are)."""
    count = snapshot.db.execute("SELECT count(*) FROM host").fetchall()[0][0]
    found = snapshot.db.execute("SELECT * FROM host ORDER BY host_id LIMIT ? OFFSET ?", [limit, offset])
    return [HostState(*row) for row in found.fetchall()], count


@dataclass(frozen=True, slots=True)
class LostFrames:
    """Frames of an ended epoch that never came and will not."""

    host_id: str
    epoch: bytes
    first_seq: int
    last_seq: int


def lost_frames(snapshot: Snapshot, host_ids: list[str], most: int) -> list[LostFrames]:
    """Of these hosts, for each the newest ``most``, the newest first."""
    found = snapshot.db.execute(
        "SELECT host_id, epoch, first_seq, last_seq FROM lost WHERE host_id IN (SELECT unnest(?::VARCHAR[]))"
        " QUALIFY row_number() OVER (PARTITION BY host_id ORDER BY log_id DESC, epoch) <= ?"
        " ORDER BY host_id, log_id DESC, epoch",
        [host_ids, most],
    )
    return [LostFrames(*row) for row in found.fetchall()]


def quarantine(snapshot: Snapshot, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """(a page of what was put aside, newest first, how many there are)."""
    names = [name for name, _ in QUARANTINE]
    count = snapshot.db.execute("SELECT count(*) FROM quarantine").fetchall()[0][0]
    found = snapshot.db.execute(
        f"SELECT {', '.join(names)} FROM quarantine ORDER BY log_id DESC, device_id, from_ns LIMIT ? OFFSET ?",
        [limit, offset],
    )
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()], count
