"""Reading a ledger, or a copy of one, to judge it: stream by stream, and nothing in it is believed.

The file is opened read-only; each page is a transaction of its own, so that a collector beside it can fold its
write-ahead log. Where there is no such log nobody writes, and the file is read as it is, which leaves nothing beside
it and works on media that cannot be written. Ledgers of all formats can be read: ledger_copy_rows.py.
"""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from .ledger_copy_batches import Batches
from .ledger_copy_rows import FORGED, FRAME, SKIP, TOMBSTONE, CopiedStream, Row, Rows
from .ledger_folder import LOG_FILE, LedgerBroken, LedgerUnusable, sqlite_errors
from .ledger_rules import Cursor, StreamId

__all__ = ["FORGED", "FRAME", "SKIP", "TOMBSTONE", "CopiedStream", "LedgerCopy", "Row"]
_PAGE_ROWS: Final = 500
_PAGE_BYTES: Final = 8 * 1024 * 1024


class LedgerCopy:
    """For one thread. Raises LedgerUnusable or LedgerBroken, as all of its calls do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        file = folder / LOG_FILE
        if not file.is_file():
            raise LedgerUnusable(f"{folder} holds no ledger: there is no {LOG_FILE} in it")
        self._log = folder / f"{LOG_FILE}-wal"
        self._still = not self._log.exists()
        with _errors(folder):
            self._db = _open(file, still=self._still)
            self._columns = {name for _, name, *_ in self._db.execute("PRAGMA table_info (log)")}
        if not self._columns:
            raise LedgerUnusable(f"{file} is no ledger: there is no table log in it")

    def __enter__(self) -> "LedgerCopy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def streams(self, host_id: str | None = None) -> Iterator[CopiedStream]:
        """Host by host, the oldest stream of each first."""
        last = ("", 0)
        while True:
            with _errors(self._folder):
                found = self._db.execute(
                    "SELECT host_id, id, epoch FROM stream WHERE (host_id, id) > (?, ?) AND ? IN ('', host_id)"
                    " ORDER BY host_id, id LIMIT ?",
                    (*last, host_id or "", _PAGE_ROWS),
                ).fetchall()
            if not found:
                return
            for host, row, epoch in found:
                yield CopiedStream(row, StreamId(host, epoch if isinstance(epoch, bytes) else str(epoch).encode()))
            last = found[-1][:2]

    def find(self, host_id: str, epoch: bytes) -> tuple[CopiedStream, int] | None:
        """The stream and its cursor's seq, as far as the cursor holds a number; None: there is no such stream."""
        with _errors(self._folder):
            found = self._db.execute(
                "SELECT id, committed_seq FROM stream WHERE host_id = ? AND epoch = ?", (host_id, epoch)
            ).fetchone()
        if found is None:
            return None
        return CopiedStream(found[0], StreamId(host_id, epoch)), found[1] if isinstance(found[1], int) else 0

    def rows(self, stream: CopiedStream, after_seq: int) -> tuple[Cursor, list[Row]]:
        """Rows in order of seq, at most 500 or 8 MiB; and where the stream says that it stands, at the same time."""
        found = self._rows(stream, after_seq)
        if self._still and self._log.exists():  # a collector has started meanwhile, and writes
            self._still = False
            self._db.close()
            with _errors(self._folder):
                self._db = _open(self._folder / LOG_FILE, still=False)
            found = self._rows(stream, after_seq)
        return found

    def _rows(self, stream: CopiedStream, after_seq: int) -> tuple[Cursor, list[Row]]:
        with _errors(self._folder):
            self._db.execute("BEGIN")
            try:
                cursor = self._db.execute("SELECT committed_seq, head_hash FROM stream WHERE id = ?", (stream.row,))
                return Cursor(*cursor.fetchone()), list(_page(self._log_rows().after(stream.row, after_seq)))
            finally:
                self._db.execute("COMMIT")

    def row(self, stream: CopiedStream, seq: int) -> Row | None:
        with _errors(self._folder):
            return self._log_rows().at(stream.row, seq)

    def rows_gone(self) -> int:
        """How many entries were deleted, or are of no stream that is known: their ids have no gaps otherwise.

        Reads all of the log. Of entries that were deleted behind the last one nothing is known here.
        """
        with _errors(self._folder):
            return self._log_rows().gone()

    def _log_rows(self) -> Rows | Batches:
        return Batches(self._db) if "digest" in self._columns else Rows(self._db, self._columns)


def _page(rows: Iterator[Row]) -> Iterator[Row]:
    size_bytes = 0
    for number, row in enumerate(rows, 1):
        yield row
        size_bytes += len(row.body)
        if size_bytes >= _PAGE_BYTES or number >= _PAGE_ROWS:
            break


@contextmanager
def _errors(folder: Path) -> Generator[None]:
    with sqlite_errors(folder):
        try:
            yield
        except UnicodeDecodeError:  # SQLite's own words about a damaged schema quote it
            raise LedgerBroken(f"{folder / LOG_FILE} is damaged: not even its schema can be read") from None


def _open(file: Path, *, still: bool) -> sqlite3.Connection:
    """``still``: nobody writes it (https://sqlite.org/uri.html, immutable)."""
    uri = f"{file.resolve().as_uri()}?{'immutable=1' if still else 'mode=ro'}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    db.text_factory = partial(str, encoding="utf-8", errors="replace")  # a forged text must not end the reading
    return db
