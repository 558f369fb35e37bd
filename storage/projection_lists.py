"""Pages of what the projection holds, row by row. Every page is bounded by its caller."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from .projection_reader import Snapshot
from .projection_rows import record_of
from .projection_schema import QUARANTINE
from .projection_sql import OWNERS, AsSent, in_force
from .usage_query import Scope
from .usage_store import HostState, LostFrames, RecordPlace, StoredRecord


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
        "SEMI JOIN (SELECT unnest(?::BIGINT[]) AS log_id, unnest(?::INTEGER[]) AS segment_no,"
        " unnest(?::INTEGER[]) AS ordinal) USING (log_id, segment_no, ordinal)"
    )
    return _records(snapshot, scope, Picked(voided=voided, sent=sent), join, columns, len(places))


def _records(
    snapshot: Snapshot, scope: Scope, picked: Picked, rest: str, more: list[Any], limit: int
) -> list[StoredRecord]:
    relation, parameters = in_force("record", scope, voided=picked.voided, sent=picked.sent)
    page = f"(SELECT * FROM {relation} {rest} ORDER BY log_id, segment_no, ordinal LIMIT ?)"
    found = snapshot.db.execute(
        f"WITH page AS MATERIALIZED {page} SELECT page.*, {_OF_SEGMENT} FROM page JOIN device_row r"
        " ON r.log_id = page.log_id AND r.segment_no = page.segment_no JOIN device d ON d.device_no = r.device_no"
        " WHERE r.log_id BETWEEN (SELECT min(log_id) FROM page) AND (SELECT max(log_id) FROM page)"
        " ORDER BY page.log_id, page.segment_no, page.ordinal",
        [*parameters, *more, limit],
    )
    names = [column[0] for column in found.description or ()]
    return [_stored_record(dict(zip(names, row, strict=True))) for row in found.fetchall()]


_WALL: Final = "page.window_start_ns + r.wall_offset_ns"
_OF_SEGMENT: Final = (
    f"{_WALL} AS wall_start_ns, {_WALL} - d.base_ns + r.boot_offset_ns AS boot_start_ns, r.length_ns AS length_ns"
)


def _stored_record(columns: dict[str, Any]) -> StoredRecord:
    place = columns["log_id"], columns["segment_no"], columns["ordinal"]
    said = {name: columns[f"said_{name}"] for name in OWNERS}
    record = record_of(columns | said)
    owner = replace(record.owner, **{name: columns[name] for name in OWNERS})
    return StoredRecord(place, columns["host_id"], columns["boot_id"], record, owner)


def hosts(snapshot: Snapshot, offset: int, limit: int) -> tuple[list[HostState], int]:
    """(a page of hosts by name, how many there are)."""
    count = snapshot.db.execute("SELECT count(*) FROM host").fetchall()[0][0]
    found = snapshot.db.execute("SELECT * FROM host ORDER BY host_id LIMIT ? OFFSET ?", [limit, offset])
    return [HostState(*row) for row in found.fetchall()], count


def lost_frames(snapshot: Snapshot, host_ids: list[str], most: int) -> list[LostFrames]:
    """Of these hosts, for each the newest ``most``, the newest first."""
    found = snapshot.db.execute(
        "SELECT log_id, host_id, epoch, first_seq, last_seq FROM lost WHERE host_id IN (SELECT unnest(?::VARCHAR[]))"
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
