"""The history of usage as signed changes: what was added and what was taken back, and since which log entry.

A record counts from the entry that brought it until the one that superseded it, and in between as the corrections in
force then say. Each such stretch is one addition at its start and one retraction at its end, so that a receiver that
only adds arrives at the sums of any log id, whatever was revised, reassigned or voided meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final

from ..model.identity import usage_key_of
from ..model.usage import Slices
from .projection_reader import Snapshot
from .projection_sql import as_said, with_segment
from .usage_query import Scope

_ROWS: Final = 5_000
"""Fetched at a time: longer lists hold up the streams."""


@dataclass(frozen=True, slots=True)
class Delta:
    """``sign`` times the amounts, from log entry ``log_id`` on."""

    log_id: int
    sign: int
    revision: int
    decided_ns: int | None
    """When the correction was made that it rests on; None: on the host's word alone."""
    tenant: str
    project: str
    host_id: str
    boot_id: str
    device_id: str
    generation: int
    boot_start_ns: int
    gpu_model: str
    workload: str
    session_id: str
    window_start_ns: int
    window_length_ns: int
    allocated_ns: int
    held_ns: int
    busy_ns: int
    slices: Slices | None = field(kw_only=True)

    @property
    def usage_key(self) -> bytes:
        place = self.device_id, self.generation, self.boot_start_ns
        return usage_key_of(self.host_id, self.boot_id, *place, self.workload, self.session_id)


def deltas(snapshot: Snapshot, scope: Scope, since: int = 0, *, lasting: bool = False) -> Iterator[Delta]:
    """Every change behind log id ``since`` up to the scope's, in the order of the log, retractions first.

    ``lasting``: only additions that are not taken back by then. For the thread of the snapshot, read to its end.
    """
    lasts = " AND until_log_id IS NULL" if lasting else ""
    tenant = "" if scope.tenant is None else " AND tenant = $tenant"
    sql = (
        f"WITH {_PIECES}"
        f" SELECT at_log_id AS log_id, 1 AS sign, {_SHOWN} FROM piece WHERE at_log_id > $since{lasts}{tenant}"
        f" UNION ALL SELECT until_log_id, -1, {_SHOWN} FROM piece WHERE until_log_id > $since{lasts}{tenant}"
        " ORDER BY log_id, sign, first_log_id, segment_no, ordinal"
    )
    told = {"as_of": scope.as_of, "start": scope.span.start_ns, "end": scope.span.end_ns, "since": since}
    found = snapshot.db.execute(sql, told | ({"tenant": scope.tenant} if tenant else {}))
    while rows := found.fetchmany(_ROWS):
        yield from map(_delta, rows)


def _delta(row: tuple[Any, ...]) -> Delta:
    compute, compute_of, memory, memory_of, parent = row[_WIDTH : _WIDTH + 5]
    slices = None if parent is None else Slices(parent, compute, compute_of, memory, memory_of)
    return Delta(*row[:_WIDTH], slices=slices)


_WIDTH: Final = len(fields(Delta)) - 1
_SHOWN: Final = (
    "revision, decided_ns, tenant, project, host_id, boot_id, device_id, generation, boot_start_ns, gpu_model,"
    " workload_kind || ':' || workload_id, session_id, window_start_ns, window_length_ns,"
    " allocated_ns, held_ns, busy_ns, compute, compute_of, memory, memory_of, parent_id,"
    " first_log_id, segment_no, ordinal"
)
_PLACE: Final = "first_log_id, segment_no, ordinal"
_IN_SPAN: Final = "log_id <= $as_of AND window_start_ns >= $start AND window_start_ns < $end"
# said: revisions with the entry that ended each. laid: corrections. mark: where a stretch of a corrected revision
# begins. Most records have no correction, and take the short way.
_PIECES: Final = f"""
said AS (
  SELECT e.* EXCLUDE (log_id), e.log_id AS first_log_id, s.by_log_id AS ended_log_id
  FROM (SELECT * FROM {with_segment(as_said("record")[0])} WHERE {_IN_SPAN}) e
  LEFT JOIN (SELECT log_id, segment_no, min(by_log_id) AS by_log_id FROM superseded
             WHERE by_log_id <= $as_of GROUP BY ALL) s USING (log_id, segment_no)),
laid AS (SELECT * EXCLUDE (log_id), log_id AS first_log_id FROM correction WHERE since_log_id <= $as_of),
corrected AS (SELECT * FROM said SEMI JOIN laid USING ({_PLACE})),
mark AS (
  SELECT {_PLACE}, first_log_id AS at_log_id FROM corrected
  UNION
  SELECT {_PLACE}, l.since_log_id FROM corrected JOIN laid l USING ({_PLACE})
  WHERE l.since_log_id > first_log_id AND l.since_log_id < coalesce(ended_log_id, l.since_log_id + 1)),
stretch AS (
  SELECT c.*, at_log_id,
    lead(at_log_id, 1, ended_log_id) OVER (PARTITION BY {_PLACE} ORDER BY at_log_id) AS until_log_id
  FROM corrected c JOIN mark USING ({_PLACE})),
state AS (
  SELECT {_PLACE}, at_log_id, max(l.decided_ns) AS decided_ns,
    arg_max(l.tenant, l.since_log_id) FILTER (l.kind = 'reassign') AS new_tenant,
    arg_max(l.project, l.since_log_id) FILTER (l.kind = 'reassign') AS new_project,
    arg_max(l.kind, l.since_log_id) FILTER (l.kind <> 'reassign') IS NOT DISTINCT FROM 'void' AS voided
  FROM stretch JOIN laid l USING ({_PLACE}) WHERE l.since_log_id <= at_log_id GROUP BY ALL),
piece AS (
  SELECT s.*, first_log_id AS at_log_id, ended_log_id AS until_log_id, NULL::BIGINT AS decided_ns
  FROM said s ANTI JOIN laid USING ({_PLACE})
  UNION ALL BY NAME
  SELECT s.* REPLACE (coalesce(new_tenant, tenant) AS tenant, coalesce(new_project, project) AS project), t.decided_ns
  FROM stretch s LEFT JOIN state t USING ({_PLACE}, at_log_id) WHERE NOT coalesce(voided, false))
"""
