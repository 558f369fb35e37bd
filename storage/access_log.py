"""Who asked what, when, and what was answered: rows that are on the disk before the answer is sent.

A SQLite file of its own beside the ledger, because it may be cut and the ledger may not. One thread commits the rows
of many requests at once, with the write-ahead log flushed, as the ledger does. There are two tables: ``access`` for
callers we know, ``refusal`` for strangers and for those who asked too often. Each has its own bound, so that nobody
can push what others read out of the log by asking in vain.
"""

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .access_schema import FILE, INSERT, TABLES, Access, AccessError, explain, open_file
from .ledger_folder import LedgerError

_log = logging.getLogger(__name__)
MOST_ROWS: Final = {"access": 10_000_000, "refusal": 1_000_000}
"""Of each table; beyond it the oldest rows go. A row takes some 150 bytes."""
_MOST_WAITING: Final = 4_096
_MOST_AT_ONCE: Final = 1_000
_CUT_AT_ONCE: Final = 5_000
_LOOK_EVERY_S: Final = 1.0
Done = Callable[[LedgerError | None], None]
"""Called from the log's thread: None once the row is durable, or why it is not."""


@dataclass(frozen=True, slots=True)
class _Offered:
    row: Access
    done: Done


class AccessLog:
    """``write`` may be called from any thread. Rows are committed in the order of the calls."""

    def __init__(
        self,
        folder: Path,
        keep_ns: int,
        most_rows: dict[str, int] = MOST_ROWS,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_death`` is called, in the log's thread, if it ends by an error that nobody foresaw.

        Raises AccessError if the file cannot be had.
        """
        self._path, self._keep_ns, self._most_rows, self._on_death = folder / FILE, keep_ns, most_rows, on_death
        self._db: sqlite3.Connection | None = None
        self._counts: dict[str, int] = {}
        self._next_id = 1
        self._open()
        self._waiting: queue.Queue[_Offered | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._live, name="access-log", daemon=True)
        self.trouble = ""
        """Why the last row could not be written; empty: it could."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commits what was offered, then closes."""
        self._waiting.put(None)
        self._thread.join()
        if self._db is not None:
            self._db.close()

    def write(self, row: Access, done: Done) -> None:
        try:
            self._waiting.put_nowait(_Offered(row, done))
        except queue.Full:
            done(AccessError(f"{_MOST_WAITING} accesses wait to be written to {self._path}: ask again in a moment"))

    def _live(self) -> None:
        try:
            self._run()
        except BaseException:
            _log.exception("the access log ends: nothing more can be answered")
            self._on_death()

    def _run(self) -> None:
        cut_at = time.monotonic()
        while (offered := self._take()) is not None:
            if offered or self.trouble:
                self._commit(offered)
            if time.monotonic() >= cut_at and not self.trouble:
                cut_at = time.monotonic() + _LOOK_EVERY_S
                self._attempt(self._cut)

    def _take(self) -> list[_Offered] | None:
        """All that waits, up to a bound; nothing if nobody asked for a while; None at the end."""
        try:
            first = self._waiting.get(timeout=_LOOK_EVERY_S)
        except queue.Empty:
            return []
        offered: list[_Offered] = []
        while first is not None:
            offered.append(first)
            if len(offered) >= _MOST_AT_ONCE or self._waiting.empty():
                return offered
            first = self._waiting.get_nowait()
        self._commit(offered)
        return None

    def _commit(self, offered: Sequence[_Offered]) -> None:
        """In trouble also without any row, so that the log notices by itself that there is room again."""
        error = self._attempt(lambda db: self._insert(db, [each.row for each in offered]))
        for each in offered:
            each.done(error)

    def _attempt(self, what: Callable[[sqlite3.Connection], None]) -> AccessError | None:
        """After an error the file is opened anew: what a commit that failed has left is known to it only.

        Any error is told, also one that nobody foresaw: each who waits for a row must hear of it.
        """
        try:
            if self._db is None:
                self._open()
            assert self._db is not None
            what(self._db)
            self.trouble = ""
        except Exception as failed:
            error = _in_words(self._path, failed)
            if self._db is not None:
                self._db.close()
            self._db, self.trouble = None, str(error)
            return error
        return None

    def _insert(self, db: sqlite3.Connection, rows: Sequence[Access]) -> None:
        db.execute("BEGIN IMMEDIATE")
        for number, row in enumerate(rows, self._next_id):
            db.execute(INSERT.format(table=row.table), row.columns(number))
        if not rows:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('probed', ?)", (str(time.time_ns()),))
        db.execute("COMMIT")
        self._next_id += len(rows)
        for row in rows:
            self._counts[row.table] += 1

    def _cut(self, db: sqlite3.Connection) -> None:
        """What is too old or too many, a portion at a time: nobody waits for it for long."""
        for table in TABLES:
            self._cut_table(db, table, time.time_ns() - self._keep_ns)

    def _cut_table(self, db: sqlite3.Connection, table: str, before_ns: int) -> None:
        rows = f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table}"
        too_many = min(max(self._counts[table] - self._most_rows[table], 0), _CUT_AT_ONCE)
        if too_many:
            self._counts[table] -= db.execute(f"{rows} ORDER BY id LIMIT ?)", (too_many,)).rowcount
        too_old = db.execute(f"{rows} WHERE at_ns < ? ORDER BY at_ns LIMIT ?)", (before_ns, _CUT_AT_ONCE))
        self._counts[table] -= too_old.rowcount

    def _open(self) -> None:
        """Raises AccessError, also for a damaged page that is first met by counting."""
        db = open_file(self._path)
        try:
            self._counts = {table: _first(db, f"SELECT count(*) FROM {table}") for table in TABLES}
            self._next_id = 1 + max(_first(db, f"SELECT coalesce(max(id), 0) FROM {table}") for table in TABLES)
        except sqlite3.Error as error:
            db.close()
            raise explain(self._path, error) from error
        self._db = db


def _first(db: sqlite3.Connection, question: str) -> int:
    return int(db.execute(question).fetchone()[0])


def _in_words(path: Path, failed: Exception) -> AccessError:
    if isinstance(failed, AccessError):
        return failed
    if isinstance(failed, sqlite3.Error):
        return explain(path, failed)
    _log.error("%s: an error nobody foresaw", path, exc_info=failed)
    return AccessError(f"{path}: the row cannot be written ({type(failed).__name__}: {failed})")
