"""Reading the ledger's log beside the one who writes it. Every answer is bounded."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from .ledger_batch import SELECT_BATCH, DamagedBatch, read_batch
from .ledger_folder import LOG_FILE, LedgerBroken, sqlite_errors
from .ledger_port import Entry, StreamState
from .ledger_rules import StreamId

__all__ = ["Entry", "LedgerReader", "StreamState"]


class LedgerReader:
    """For one thread at a time; closes each read before it returns, so the writer's log can be folded."""

    def __init__(self, folder: Path) -> None:
        """Raises LedgerUnusable or LedgerBroken."""
        self._folder = folder
        with sqlite_errors(folder):
            self._db = sqlite3.connect(folder / LOG_FILE, isolation_level=None, check_same_thread=False, timeout=10)
            self._db.execute("PRAGMA query_only = 1")
        self._streams: dict[int, StreamId] = {}

    def __enter__(self) -> "LedgerReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def last_log_id(self) -> int:
        """0: the log is empty."""
        with sqlite_errors(self._folder):
            found = self._db.execute("SELECT max(id) FROM log").fetchone()
        return found[0] or 0

    def read(self, after_log_id: int, most: int, most_bytes: int) -> list[Entry]:
        """The entries after ``after_log_id`` in order: at most ``most``, and the first beyond ``most_bytes`` ends it.

        Raises LedgerBroken.
        """
        entries: list[Entry] = []
        size_bytes = 0
        with sqlite_errors(self._folder):
            rows = self._db.execute(f"{SELECT_BATCH} id > ? ORDER BY id", (after_log_id,))
            for entry in self._entries(rows, after_log_id):
                entries.append(entry)
                size_bytes += len(entry.body)
                if size_bytes >= most_bytes or len(entries) >= most:
                    break
            rows.close()
        return entries

    def _entries(self, batches: Iterator[Any], after_log_id: int) -> Iterator[Entry]:
        for batch in batches:
            last_id, count, received_ns, *_ = batch
            try:
                packed = read_batch(batch)
            except DamagedBatch as error:
                raise self._broken(f"in the batch that ends with entry {last_id}: {error}") from None
            for place, entry in packed.items():
                log_id = last_id - count + 1 + place
                if log_id > after_log_id:
                    stream = self._stream(entry.stream)
                    yield Entry(log_id, stream, entry.seq, entry.kind, entry.hash, received_ns, entry.body)

    def _stream(self, row: int) -> StreamId:
        known = self._streams.get(row)
        if known is None:
            found = self._db.execute("SELECT host_id, epoch FROM stream WHERE id = ?", (row,)).fetchone()
            if found is None:
                raise self._broken(f"stream {row} is missing")
            known = self._streams[row] = StreamId(*found)
        return known

    def _broken(self, what: str) -> LedgerBroken:
        return LedgerBroken(
            f"{self._folder / LOG_FILE} is damaged ({what}): restore it from a backup; hosts will replay"
        )

    def streams(self, host_ids: list[str], most: int = 1_000) -> list[StreamState]:
        """The streams of these hosts, newest first."""
        marks = ", ".join("?" * len(host_ids))
        with sqlite_errors(self._folder):
            rows = self._db.execute(
                "SELECT host_id, epoch, committed_seq, head_hash, tombstones, replays, skipped, last_received_ns"
                f" FROM stream WHERE host_id IN ({marks}) ORDER BY host_id, id DESC LIMIT ?",
                (*host_ids, most),
            ).fetchall()
        return [StreamState(StreamId(row[0], row[1]), *row[2:]) for row in rows]
