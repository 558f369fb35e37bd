"""The log in a copy of a ledger of format 3, where entries lie in batches."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from .ledger_batch import SELECT_BATCH, DamagedBatch, read_batch
from .ledger_copy_rows import FORGED, Row


class Batches:
    """May raise sqlite3.Error, as all that reads a file which may be damaged."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def after(self, stream: int, seq: int) -> Iterator[Row]:
        """Of a damaged batch one row: the frames of this stream that should be in it are not known one by one."""
        for last_seq, batch in self._runs(stream, seq):
            try:
                rows = self._rows(batch, stream)
            except DamagedBatch as error:
                yield _forged(seq + 1, last_seq, batch, str(error))
                return
            yield from (row for row in rows if row.seq > seq)
            seq = max(seq, last_seq)

    def at(self, stream: int, seq: int) -> Row | None:
        """None: nothing is there, or what is there is damaged."""
        for _, batch in self._runs(stream, seq - 1, most=1):
            try:
                return next((row for row in self._rows(batch, stream) if row.seq == seq), None)
            except DamagedBatch:
                break
        return None

    def gone(self) -> int:
        streams = {row for (row,) in self._db.execute("SELECT id FROM stream")}
        gone = last_id = 0
        while found := self._db.execute(f"{SELECT_BATCH} id > ? ORDER BY id LIMIT 1", (last_id,)).fetchone():
            with suppress(DamagedBatch):  # the walk along the streams tells it
                gone += sum(entry.stream not in streams for entry in read_batch(found).values())
            there = found[0] - last_id
            gone += there - found[1] if found[1] in range(1, there) else 0
            last_id = found[0]
        return gone

    def _runs(self, stream: int, after_seq: int, most: int = -1) -> Iterator[tuple[Any, Any]]:
        runs = self._db.execute(
            "SELECT last_seq, batch FROM run WHERE stream = ? AND last_seq > ? ORDER BY last_seq LIMIT ?",
            (stream, after_seq, most),
        )
        try:
            yield from runs
        finally:
            runs.close()

    def _rows(self, batch: Any, stream: int) -> list[Row]:
        found = self._db.execute(f"{SELECT_BATCH} id = ?", (batch,)).fetchone()
        if found is None:
            raise DamagedBatch("it is not there")
        first_id = found[0] - found[1] + 1 if isinstance(found[1], int) else 0
        return [
            Row(first_id + place, entry.seq, entry.kind, entry.hash, entry.body)
            for place, entry in read_batch(found, stream).items()
        ]


def _forged(first_seq: int, last_seq: Any, batch: Any, what: str) -> Row:
    log_id = batch if isinstance(batch, int) else 0
    return Row(
        log_id, first_seq, FORGED, b"", b"", f"frames {first_seq} to {last_seq}, in batch {batch} of the log: {what}"
    )
