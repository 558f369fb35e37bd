"""The access log's file: its tables, a row, and its errors in words."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .ledger_folder import LedgerBroken

FILE: Final = "access.sqlite"
TABLES: Final = ("access", "refusal")
COLUMNS: Final = ("at_ns", "who", "address", "method", "path", "query", "status", "as_of")
INSERT: Final = f"INSERT INTO {{table}} (id, {', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FORMAT: Final = "1"


class AccessError(LedgerBroken):
    """A row of the access log cannot be written, or the log not be read."""


@dataclass(frozen=True, slots=True)
class Access:
    """One request and the status of its answer. Never a token, nor anything of a body."""

    at_ns: int
    who: str
    """The name of the token; empty: nobody we know."""
    address: str
    method: str
    path: str
    query: str
    status: int
    as_of: int | None
    """The log id as of which the answer is, or of what was decided; None: it told nothing of the ledger."""
    in_vain: bool = False
    """A stranger's, or one too many."""

    @property
    def table(self) -> str:
        return "refusal" if self.in_vain else "access"

    def columns(self, number: int) -> tuple[Any, ...]:
        return (number, *(getattr(self, name) for name in COLUMNS))


def open_file(path: Path) -> sqlite3.Connection:
    """Raises AccessError. The thread that opens it, so that errors are told at start, is not the one that writes."""
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (_FORMAT,))
        for table in TABLES:
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL,"
                " who TEXT NOT NULL, address TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,"
                " query TEXT NOT NULL, status INTEGER NOT NULL, as_of INTEGER)"
            )
            db.execute(f"CREATE INDEX IF NOT EXISTS {table}_by_time ON {table} (at_ns)")
        (found,) = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    except sqlite3.Error as error:
        raise explain(path, error) from error
    if found != _FORMAT:
        raise AccessError(f"{path} has format {found}, this gputally knows {_FORMAT}: move it away and keep it")
    return db


def explain(path: Path, error: sqlite3.Error) -> AccessError:
    """SQLite's error with its cure."""
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return AccessError(f"{path}: no space left: make room on this file system")
    if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
        return AccessError(f"{path} is damaged ({error}): move it away and keep it, and a new one is begun")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return AccessError(f"{path} cannot be written ({error}): let this user write there")
    return AccessError(f"{path}: {error} ({name})")
