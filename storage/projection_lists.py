"""Pages of what the projection holds, row by row. Every page is bounded by its caller."""

from typing import Any, Final

from .projection_reader import Snapshot
from .projection_rows import record_of
from .projection_schema import QUARANTINE
from .projection_sql import in_force
from .usage_query import Scope
from .usage_store import HostState, RecordPlace, StoredRecord


def records(
    snapshot: Snapshot, scope: Scope, after: RecordPlace, limit: int, host_id: str | None = None
) -> list[StoredRecord]:
    """Records in scope behind ``after``, in the order of the log."""
    relation, parameters = in_force("record", scope)
    of_host = " AND host_id = ?" if host_id is not None else ""
    page = (
        f"(SELECT * FROM {relation} WHERE (log_id > ? OR (log_id = ? AND (segment_no > ? OR"
        f" (segment_no = ? AND ordinal > ?)))){of_host} ORDER BY log_id, segment_no, ordinal LIMIT ?)"
    )
    found = snapshot.db.execute(
        f"WITH page AS MATERIALIZED {page} SELECT page.*, {_OF_SEGMENT} FROM page JOIN device_row r"
        " ON r.log_id = page.log_id AND r.segment_no = page.segment_no JOIN device d ON d.device_no = r.device_no"
        " WHERE r.log_id BETWEEN (SELECT min(log_id) FROM page) AND (SELECT max(log_id) FROM page)"
        " ORDER BY page.log_id, page.segment_no, page.ordinal",
        [*parameters, after[0], *after[:2], *after[1:], *([host_id] if of_host else []), limit],
    )
    names = [column[0] for column in found.description or ()]
    return [_stored_record(dict(zip(names, row, strict=True))) for row in found.fetchall()]


_WALL: Final = "page.window_start_ns + r.wall_offset_ns"
_OF_SEGMENT: Final = (
    f"{_WALL} AS wall_start_ns, {_WALL} - d.base_ns + r.boot_offset_ns AS boot_start_ns, r.length_ns AS length_ns"
)


def _stored_record(columns: dict[str, Any]) -> StoredRecord:
    place = columns["log_id"], columns["segment_no"], columns["ordinal"]
    return StoredRecord(place, columns["host_id"], columns["boot_id"], record_of(columns))


def hosts(snapshot: Snapshot, offset: int, limit: int) -> tuple[list[HostState], int]:
    """(a page of hosts by name, how many there are)."""
    count = snapshot.db.execute("SELECT count(*) FROM host").fetchall()[0][0]
    found = snapshot.db.execute("SELECT * FROM host ORDER BY host_id LIMIT ? OFFSET ?", [limit, offset])
    return [HostState(*row) for row in found.fetchall()], count


def quarantine(snapshot: Snapshot, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """(a page of what was put aside, newest first, how many there are)."""
    names = [name for name, _ in QUARANTINE]
    count = snapshot.db.execute("SELECT count(*) FROM quarantine").fetchall()[0][0]
    found = snapshot.db.execute(
        f"SELECT {', '.join(names)} FROM quarantine ORDER BY log_id DESC, device_id, from_ns LIMIT ? OFFSET ?",
        [limit, offset],
    )
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()], count
