"""Numbers for what rows say over and over: devices and subjects are written once and named by number.

Only the writer numbers. Its memory is bounded; what it has forgotten gets another number when
it comes again, which costs a row and changes no answer, since numbers only join.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final

import duckdb

Row = tuple[Any, ...]
_MOST: Final = 200_000
"""Of each kind: some 150 MB at the very most."""


class Numbers:
    """One kind: the row of each key, its number first, and the rows that are new."""

    def __init__(self, next_no: int) -> None:
        self._next = next_no
        self._rows: dict[Hashable, Row] = {}
        self.new: list[Row] = []

    def find(self, key: Hashable) -> Row | None:
        return self._rows.get(key)

    def add(self, key: Hashable, columns: Row) -> Row:
        """A row for a key that has none."""
        row = (self._next, *columns)
        self._next += 1
        self.new.append(row)
        self.know(key, row)
        return row

    def take_new(self) -> list[Row]:
        taken, self.new = self.new, []
        return taken

    def know(self, key: Hashable, row: Row) -> None:
        """It is written, or will be."""
        if len(self._rows) >= _MOST:
            self._rows.clear()
        self._rows[key] = row


def load_numbers(db: duckdb.DuckDBPyConnection, table: str, key_of: Callable[[Row], Hashable]) -> Numbers:
    """Of ``device`` or ``subject``: the newest of what is there, as much as is remembered."""
    top = db.execute(f"SELECT coalesce(max({table}_no), 0) FROM {table}").fetchall()[0][0]
    numbers = Numbers(top + 1)
    found = db.execute(f"SELECT * FROM {table} WHERE {table}_no > ? ORDER BY ALL", [top - _MOST])
    while rows := found.fetchmany(10_000):
        for row in rows:
            numbers.know(key_of(row), row)
    return numbers
