"""The ledger's tables in SQLite, and how its file is opened. docs/formats.md tells what is in them.

``log`` is the truth: a row is a batch of entries, and its id is the log id of the last of them, so that ids have no
gaps. ``stream`` is where each log of a host has come to. ``run`` and ``tombstone`` only find entries, and could be
made anew from ``log``.
"""

import sqlite3
import uuid
from pathlib import Path
from typing import Final

FORMAT: Final = 3
SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS stream (
        id INTEGER PRIMARY KEY, host_id TEXT NOT NULL, epoch BLOB NOT NULL,
        committed_seq INTEGER NOT NULL, head_hash BLOB NOT NULL,
        tombstones INTEGER NOT NULL, replays INTEGER NOT NULL, skipped INTEGER NOT NULL,
        last_received_ns INTEGER NOT NULL,
        UNIQUE (host_id, epoch))""",
    # id: of the last entry in it. count: of its entries. digest and body: see ledger_batch.py.
    """CREATE TABLE IF NOT EXISTS log (
        id INTEGER PRIMARY KEY, count INTEGER NOT NULL, received_ns INTEGER NOT NULL,
        digest BLOB NOT NULL, body BLOB NOT NULL)""",
    # Which batch holds the entries of a stream through last_seq, from behind the run before.
    """CREATE TABLE IF NOT EXISTS run (
        stream INTEGER NOT NULL, last_seq INTEGER NOT NULL, batch INTEGER NOT NULL,
        PRIMARY KEY (stream, last_seq)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS tombstone (
        stream INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (stream, seq)) WITHOUT ROWID""",
    *(
        f"CREATE TRIGGER IF NOT EXISTS {table}_is_never_{what} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE (ABORT, 'the {table} is append-only'); END"
        for table in ("log", "run", "tombstone")
        for what, verb in (("changed", "UPDATE"), ("cut", "DELETE"))
    ),
)
_PAGE_BYTES: Final = 1_024
_WAL_BYTES: Final = 16 * 1024 * 1024
"""What is written before SQLite folds its write-ahead log into the file."""


def connect(path: Path) -> sqlite3.Connection:
    """For one thread at a time: the one that opens it, so that errors are told at start, does not commit."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # of a new file
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BYTES // _PAGE_BYTES}")
    return db


def read_meta(db: sqlite3.Connection) -> dict[str, str]:
    """Empty: a file without a ledger."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return {}
    return dict(db.execute("SELECT key, value FROM meta"))


def create(db: sqlite3.Connection) -> None:
    """In the caller's transaction."""
    for statement in SCHEMA:
        db.execute(statement)
    db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (str(FORMAT),))
    db.execute("INSERT OR IGNORE INTO meta VALUES ('ledger_id', ?)", (uuid.uuid4().hex,))
