"""The projection: what queries read, in DuckDB. Derived from the log, and may be deleted at any time.

One thread changes it, in transactions that move its position in the log together
with what the entries up to there say: after a crash it goes on exactly there.
Queries read beside it, each from its own connection and a snapshot.
"""

import logging
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, Final

import duckdb

from ..model.decisions import Corrected, Decided, Decision
from ..model.identity import records_digest, row_digest
from ..model.interval import Interval
from ..model.usage import DeviceWindow, Segment, UsageRecord
from .ledger_folder import PROJECTION_FILE, LedgerBroken
from .projection_corrections import carried, corrected_segments, corrections_of, mark_of, segment_mark
from .projection_decision_rows import decision_rows, replaced_by
from .projection_late import Late, adjustments, is_touched, sealed_spans
from .projection_numbers import Row, load_numbers
from .projection_rollup import Rollups
from .projection_rows import Additions, device_key_of, record_of, row_of, subject_key_of
from .projection_schema import TABLES, VERSION, create_statements
from .projection_sql import as_said, in_force, told_last
from .usage_query import Scope
from .usage_store import Covered, HostState, LostFrames, Origin, Place, PutAside, StoredRow, Wanted

_log = logging.getLogger(__name__)
_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "memory_limit": "1GiB",
    "threads": "2",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # a name in a statement is never a Python variable
}


_EVERYTHING: Final = Scope(Interval(-(2**62), 2**62), 2**62)


class Projection:
    """The changing end, for one thread; ``reader`` gives the others theirs."""

    def __init__(self, folder: Path, ledger_id: str, last_log_id: int) -> None:
        """Opens the projection of this ledger, or makes an empty one where there is none that fits.

        ``last_log_id``: the log's own end; a projection beyond it belongs to another past of this
        ledger (it was restored from a backup) and starts anew. Raises LedgerBroken.
        """
        self._path = folder / PROJECTION_FILE
        self._ledger_id = ledger_id
        self._start(*self._open(ledger_id, last_log_id))

    def _start(self, db: duckdb.DuckDBPyConnection, position: int) -> None:
        self._db, self.position = db, position
        self._remember()

    def _remember(self) -> None:
        """What is held in memory beside the tables, as the tables have it."""
        self.additions = Additions(
            load_numbers(self._db, "device", device_key_of), load_numbers(self._db, "subject", subject_key_of)
        )
        self._rollups = Rollups(self._db)
        self._has_late = bool(self._db.execute("SELECT 1 FROM late LIMIT 1").fetchall())
        self._late: list[Late] = []
        self._corrected = corrected_segments(self._db)

    def reopen(self, last_log_id: int) -> None:
        """After an error: an instance that failed to commit may be of no further use. Raises LedgerBroken."""
        self._db.close()
        self._start(*self._open(self._ledger_id, last_log_id))

    def close(self) -> None:
        self._db.close()

    def reader(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for one thread."""
        return self._db.cursor()

    @contextmanager
    def transaction(self, through_log_id: int) -> Generator[None]:
        """All changes inside become true together with the position ``through_log_id``, or none does.

        Raises LedgerBroken.
        """
        try:
            self._db.begin()
            yield
            self._db.execute("UPDATE position SET log_id = ?", [through_log_id])
            self._db.commit()
        except BaseException as error:
            self._roll_back()
            if isinstance(error, duckdb.Error):
                raise LedgerBroken(f"{self._path}: {error}") from error
            raise
        self.position = through_log_id

    def add(self, origin: Origin, row: DeviceWindow, records: Sequence[UsageRecord]) -> None:
        """A segment; in a transaction, like all that follow."""
        self.additions.add(origin, row, records)

    def supersede(self, old: StoredRow, by_log_id: int) -> None:
        self.additions.supersede(old, by_log_id)

    def decide(self, log_id: int, decided: Decided) -> None:
        """What somebody decided; of a correction also which records it is about."""
        self.additions.note(*decision_rows(log_id, decided))
        if isinstance(decided.what, Corrected):
            self.flush()  # so that what came a moment ago is found too
            rows, changed_s = corrections_of(self._db, self.stored_rows, log_id, decided.at_ns, decided.what.overlays)
            self._append("correction", rows)
            self._corrected.update(map(segment_mark, decided.what.overlays))
            self.mark_dirty(changed_s)

    def carry_corrections(self, origin: Origin, segment: Segment, records: Sequence[UsageRecord]) -> None:
        """What was decided of the records of a segment it is also of those of its new revision."""
        if mark_of(origin, segment) in self._corrected:
            self._append("correction", carried(self._db, origin, segment, records))

    def add_late(
        self,
        origin: Origin,
        row: DeviceWindow,
        records: Sequence[UsageRecord],
        old: StoredRow | None,
        booked_ns: int,
        received_ns: int,
    ) -> None:
        """A segment of a sealed period; what it changes against ``old`` is booked at ``settle_late``."""
        self.additions.add(origin, row, records)
        self.additions.superseded.append((origin.log_id, origin.segment_no, origin.log_id))
        self._late.append(Late(origin, row, old, booked_ns, received_ns))
        self.carry_corrections(origin, row.segment, records)

    def settle_late(self) -> None:
        """Books what the late segments since the last time change."""
        if not self._late:
            return
        late, self._late = self._late, []
        self.flush()
        self._append("late", [each.columns for each in late])
        self._has_late = True
        for log_id, decided in adjustments(self._db, late):
            self.additions.note(*decision_rows(log_id, decided))

    def sealed(self) -> list[Interval]:
        self.flush()
        return sealed_spans(self._db)

    def is_touched(self, span: Interval, behind_log_id: int) -> bool:
        self.flush()
        return is_touched(self._db, span, behind_log_id)

    def replaced_by(self, what: Decision) -> Decision | None:
        self.flush()
        return replaced_by(self._db, what)

    def lose(self, lost: LostFrames) -> None:
        self.additions.lost.append(astuple(lost))

    def put_aside(self, what: PutAside) -> None:
        self.additions.quarantine.append(astuple(what))

    def note(self, table: str, rows: list[Row]) -> None:
        """Rows of what is no usage."""
        self.additions.note(table, rows)

    def advance(self, log_id: int, host_id: str, complete_through_ns: int, received_ns: int) -> None:
        """A host's new watermark."""
        self.additions.watermark.append((log_id, host_id, complete_through_ns, received_ns))

    def flush_if_large(self) -> None:
        if self.additions.is_large:
            self.flush()

    def flush(self) -> None:
        """Appends what was added, and empties ``additions``."""
        changed_s = self.additions.take_changed()
        for table, rows in self.additions.take().items():
            self._append(table, rows)
        self.mark_dirty(changed_s)

    def mark_dirty(self, window_starts_s: Iterable[int]) -> None:
        """The sums of windows that start then (s since 1970) are not what they were, or may not be.

        For whatever changes an answer without adding or superseding a record. In a transaction.
        """
        self._append("dirty", [(int(level), start_s) for level, start_s in self._rollups.mark(window_starts_s)])

    def refresh(self, settled_ns: int) -> int:
        """Makes a bounded number of rollups again, in a transaction of its own; how many. Raises LedgerBroken.

        ``settled_ns``: only buckets that ended before. When this is called decides how fast answers
        are, never what they are.
        """
        if not self._rollups.is_due(settled_ns):
            return 0
        with self.transaction(self.position):
            return self._rollups.refresh(self.position, settled_ns)

    def stored_rows(self, host_id: str, boot_id: str, wanted: Sequence[Wanted]) -> list[list[StoredRow]]:
        """For each wanted segment the conservation rows that overlap it, in order; at most two of them.

        Those in force; of a sealed period the last that came.
        """
        columns = [
            [each.device_id for each in wanted],
            [each.generation for each in wanted],
            [each.boot.start_ns for each in wanted],
            [each.boot.end_ns for each in wanted],
        ]
        relation, parameters = told_last() if self._has_late else in_force("device_row", _EVERYTHING)
        found: list[tuple[int, int, int, int, int, int, int]] = self._db.execute(
            "SELECT place, r.log_id, r.segment_no, r.boot_start_ns, r.length_ns, r.revision, r.window_s"
            " FROM (SELECT unnest(range(?)) AS place, unnest(?::VARCHAR[]) AS device, unnest(?::UINTEGER[]) AS gen,"
            " unnest(?::BIGINT[]) AS start_ns, unnest(?::BIGINT[]) AS end_ns) w"
            f" JOIN (SELECT * FROM {relation} WHERE host_id = ? AND boot_id = ?) r ON r.device_id = device"
            " AND r.generation = gen AND r.boot_start_ns < end_ns AND r.boot_start_ns + r.length_ns::BIGINT > start_ns"
            " QUALIFY row_number() OVER (PARTITION BY place ORDER BY r.boot_start_ns) <= 2"
            " ORDER BY place, r.boot_start_ns",
            [len(wanted), *columns, *parameters, host_id, boot_id],
        ).fetchall()
        rows: list[list[StoredRow]] = [[] for _ in wanted]
        for place, log_id, number, start_ns, length_ns, revision, window_s in found:
            boot = Interval(start_ns, start_ns + length_ns)
            rows[place].append(StoredRow(log_id, number, boot, revision, window_s))
        return rows

    def stored_digests(self, stored: Sequence[StoredRow]) -> dict[Place, bytes]:
        """The digest of each of these rows, by (log id, segment number): made from all that is stored of it.

        As its host said it, whatever corrections say.
        """
        places = [[row.log_id for row in stored], [row.segment_no for row in stored]]
        rows = {_place(row): row for row in self._at("device_row", places)}
        records: defaultdict[Place, list[UsageRecord]] = defaultdict(list)
        for columns in self._at("record", places):
            records[_place(columns)].append(record_of({**rows[_place(columns)], **columns}))
        unobserved: defaultdict[Place, list[tuple[str, int]]] = defaultdict(list)
        for columns in self._at("unobserved", places):
            unobserved[_place(columns)].append((columns["reason"], columns["length_ns"]))
        return {
            place: row_digest(row_of(columns, tuple(unobserved[place]), records_digest(records[place])))
            for place, columns in rows.items()
        }

    def _at(self, table: str, places: list[list[int]]) -> list[dict[str, Any]]:
        """The rows of these segments, by column name, in order."""
        if not places[0]:
            return []
        relation, parameters = (table, []) if table == "unobserved" else as_said(table)
        found = self._db.execute(
            f"SELECT * FROM (SELECT * FROM {relation} WHERE log_id BETWEEN ? AND ?)"
            " SEMI JOIN (SELECT unnest(?::BIGINT[]) AS log_id, unnest(?::INTEGER[]) AS segment_no)"
            f" USING (log_id, segment_no) ORDER BY log_id, segment_no{'' if table == 'device_row' else ', ordinal'}",
            [*parameters, min(places[0]), max(places[0]), *places],
        )
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def hosts(self) -> dict[str, HostState]:
        rows = self._db.execute("SELECT * FROM host").fetchall()
        return {row[0]: HostState(*row) for row in rows}

    def save_hosts(self, hosts: Iterable[HostState]) -> None:
        """Writes the state of these hosts, whether known before or not."""
        rows = [astuple(host) for host in hosts]
        self._db.execute("DELETE FROM host WHERE host_id IN (SELECT unnest(?::VARCHAR[]))", [[row[0] for row in rows]])
        self._append("host", rows)

    def covered(self, host_id: str, boot_id: str) -> list[Covered]:
        """Every device of this host and boot that has rows."""
        found = self._db.execute(
            "SELECT device_id, generation, list(start_ns ORDER BY start_ns), list(end_ns ORDER BY start_ns)"
            " FROM coverage WHERE host_id = ? AND boot_id = ? GROUP BY ALL",
            [host_id, boot_id],
        ).fetchall()
        return [
            Covered(host_id, boot_id, device, generation, tuple(map(Interval, starts, ends)))
            for device, generation, starts, ends in found
        ]

    def save_covered(self, covered: list[Covered]) -> None:
        """Replaces what was known to be covered of these devices."""
        names = [list(column) for column in zip(*map(_identity, covered), strict=True)]
        if not names:
            return
        self._db.execute(
            "DELETE FROM coverage USING (SELECT unnest(?::VARCHAR[]) h, unnest(?::VARCHAR[]) b,"
            " unnest(?::VARCHAR[]) d, unnest(?::UINTEGER[]) g) gone"
            " WHERE host_id = h AND boot_id = b AND device_id = d AND generation = g",
            names,
        )
        rows = [(*_identity(each), part.start_ns, part.end_ns) for each in covered for part in each.stretches]
        self._append("coverage", rows)

    def open_losses(self) -> set[str]:
        """Hosts with a rejected frame and no watermark since."""
        return {row[0] for row in self._db.execute("SELECT host_id FROM quarantine WHERE to_ns IS NULL").fetchall()}

    def has_lost(self, host_id: str, epoch: bytes) -> bool:
        """Whether it is known already that frames of this ended epoch are lost."""
        self.flush()
        found = self._db.execute("SELECT 1 FROM lost WHERE host_id = ? AND epoch = ? LIMIT 1", [host_id, epoch])
        return bool(found.fetchall())

    def close_open_quarantine(self, host_id: str, to_ns: int) -> None:
        """What a rejected frame of this host may have held lies before its next watermark."""
        self.flush()
        self._db.execute("UPDATE quarantine SET to_ns = ? WHERE host_id = ? AND to_ns IS NULL", [to_ns, host_id])

    def _append(self, table: str, rows: list[Row]) -> None:
        if rows:
            with self._db.appender(table) as appender:
                appender.append_rows(rows)

    def _roll_back(self) -> None:
        try:
            self._db.rollback()
            self._remember()
        except duckdb.Error as error:
            _log.error("%s: could not roll back: %s", self._path, error)

    def _open(self, ledger_id: str, last_log_id: int) -> tuple[duckdb.DuckDBPyConnection, int]:
        try:
            db = duckdb.connect(self._path, config=_SETTINGS)
            position = _position(db, ledger_id, last_log_id)
        except duckdb.Error as error:
            _log.error("%s cannot be read and is made again from the log: %s", self._path, error)
            return self._start_anew(ledger_id), 0
        if position is not None:
            return db, position
        db.close()
        return self._start_anew(ledger_id), 0

    def _start_anew(self, ledger_id: str) -> duckdb.DuckDBPyConnection:
        """An empty projection. What stood there is derived, so nothing is lost with it."""
        try:
            delete_projection(self._path.parent)
            db = duckdb.connect(self._path, config=_SETTINGS)
            db.begin()
            for statement in create_statements():
                db.execute(statement)
            db.execute("INSERT INTO position VALUES (?, ?, 0)", [VERSION, ledger_id])
            db.commit()
        except (duckdb.Error, OSError) as error:
            raise LedgerBroken(f"{self._path} cannot be made: {error}") from error
        return db


def delete_projection(folder: Path) -> None:
    """What it held is in the log. Raises LedgerBroken."""
    try:
        for name in (PROJECTION_FILE, PROJECTION_FILE + ".wal"):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise LedgerBroken(f"{folder / PROJECTION_FILE} cannot be deleted: {error.strerror}") from error


def _position(db: duckdb.DuckDBPyConnection, ledger_id: str, last_log_id: int) -> int | None:
    """Where this projection stands, or None if it is not one of this ledger."""
    known = {row[0] for row in db.execute("SELECT table_name FROM information_schema.tables").fetchall()}
    if not known:
        return None
    if not set(TABLES) <= known:
        _log.warning("the projection is of another version: it is made again from the log")
        return None
    version, its_ledger, log_id = db.execute("SELECT version, ledger_id, log_id FROM position").fetchall()[0]
    if (version, its_ledger) != (VERSION, ledger_id) or log_id > last_log_id:
        _log.warning("the projection is not that of this ledger: it is made again from the log")
        return None
    return int(log_id)


def _place(columns: Mapping[str, Any]) -> Place:
    return columns["log_id"], columns["segment_no"]


def _identity(covered: Covered) -> tuple[Any, ...]:
    return covered.host_id, covered.boot_id, covered.device_id, covered.generation


assert tuple(each.name for each in fields(HostState)) == tuple(name for name, _ in TABLES["host"])
