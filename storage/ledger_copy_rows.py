"""The log in a copy of a ledger of formats 1 and 2, where each entry is a row; and what an entry is to a reader."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from .ledger_rules import StreamId

FRAME, TOMBSTONE, SKIP = 0, 1, 2
FORGED: Final = -1
"""Kinds of rows; the last is of what no collector has written. The column is called ``tombstone`` in
ledgers of format 1, which have no Skips."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of the log as it is there: anything may have been written into it."""

    log_id: int
    seq: int
    kind: int
    hash: bytes
    body: bytes
    forged: str = ""
    """Of kind FORGED: what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CopiedStream:
    row: int
    id: StreamId


class Rows:
    """May raise sqlite3.Error, as all that reads a file which may be damaged."""

    def __init__(self, db: sqlite3.Connection, columns: set[str]) -> None:
        self._db = db
        kind = "kind" if "kind" in columns else "tombstone"
        self._select = f"SELECT id, seq, {kind}, hash, body FROM log WHERE stream = ?"

    def after(self, stream: int, seq: int) -> Iterator[Row]:
        rows = self._db.execute(f"{self._select} AND seq > ? ORDER BY seq", (stream, seq))
        try:
            yield from map(_row, rows)
        finally:
            rows.close()

    def at(self, stream: int, seq: int) -> Row | None:
        found = self._db.execute(f"{self._select} AND seq = ?", (stream, seq)).fetchone()
        return None if found is None else _row(found)

    def gone(self) -> int:
        """SQLite numbers rows without a gap, as long as none is deleted (rowids, lang_createtable)."""
        newest, count = self._db.execute("SELECT max(id), count(*) FROM log").fetchone()
        return int(newest or 0) - int(count)


def _row(found: Any) -> Row:
    log_id, seq, kind, digest, body = found
    whole = all(isinstance(value, int) for value in (log_id, seq, kind)) and kind in (FRAME, TOMBSTONE, SKIP)
    if whole and isinstance(digest, bytes) and isinstance(body, bytes):
        return Row(log_id, seq, kind, digest, body)
    return Row(log_id, seq, FORGED, b"", b"", f"the row of frame {seq} holds what no collector writes there")
