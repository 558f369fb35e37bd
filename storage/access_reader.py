"""Reading the access log beside the thread that writes it."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..model.interval import Interval
from .access_schema import COLUMNS, FILE, TABLES, Access, explain

Place = tuple[int, int]
"""(when, ns since 1970; number): the order in which rows are told."""


class Numbered(NamedTuple):
    """A row as it is stored. The number is one for ever; those of both tables come from one row of numbers."""

    number: int
    row: Access

    @property
    def place(self) -> Place:
        return self.row.at_ns, self.number


def read_accesses(folder: Path, span: Interval, after: Place, limit: int, who: str | None = None) -> list[Numbered]:
    """At most ``limit`` rows of ``span`` behind ``after``, in order of time. Raises AccessError."""
    path = folder / FILE
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)
        try:
            found = [each for table in TABLES for each in _read(db, table, span, after, limit, who)]
        finally:
            db.close()
    except sqlite3.Error as error:
        raise explain(path, error) from error
    return sorted(found, key=lambda each: each.place)[:limit]


def _read(
    db: sqlite3.Connection, table: str, span: Interval, after: Place, limit: int, who: str | None
) -> Sequence[Numbered]:
    of_whom, names = ("", ()) if who is None else (" AND who = ?", (who,))
    rows = db.execute(
        f"SELECT id, {', '.join(COLUMNS)} FROM {table} WHERE at_ns >= ? AND at_ns < ? AND (at_ns, id) > (?, ?)"
        f"{of_whom} ORDER BY at_ns, id LIMIT ?",
        (span.start_ns, span.end_ns, *after, *names, limit),
    )
    return [Numbered(row[0], replace(Access(*row[1:]), in_vain=table == "refusal")) for row in rows.fetchall()]
