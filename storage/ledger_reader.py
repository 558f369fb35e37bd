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

    def held_through(self, stream: StreamId, before_log_id: int) -> int:
        """Where the stream's cursor was when the entry ``before_log_id`` was committed; 0: nothing was there.

        Halves the stream, whose runs were committed in the order of their seq. Raises LedgerBroken.
        """
        with sqlite_errors(self._folder):
            found = self._db.execute(
                "SELECT id, committed_seq FROM stream WHERE host_id = ? AND epoch = ?", (stream.host_id, stream.epoch)
            ).fetchone()
            if found is None:
                return 0
            low, beyond = 0, found[1] + 1
            while low + 1 < beyond:
                middle = (low + beyond) // 2
                run = self._run(found[0], middle)
                if run is not None and run[1] < before_log_id:
                    low = run[0]
                else:
                    beyond = middle
            return self._held_in(found[0], low, before_log_id)

    def _held_in(self, row: int, low: int, before_log_id: int) -> int:
        """The run behind ``low`` may lie in a batch with entries from before and behind."""
        run = self._run(row, low + 1)
        if run is not None:
            batch = self._db.execute(f"{SELECT_BATCH} id = ?", (run[1],)).fetchone()
            for entry in self._entries(iter([batch]), 0):
                if entry.log_id < before_log_id and self._streams.get(row) == entry.stream:
                    low = max(low, entry.seq)
        return low

    def _run(self, row: int, from_seq: int) -> tuple[int, int] | None:
        """(last seq, batch) of the first run that reaches to ``from_seq``."""
        found: tuple[int, int] | None = self._db.execute(
            "SELECT last_seq, batch FROM run WHERE stream = ? AND last_seq >= ? ORDER BY last_seq LIMIT 1",
            (row, from_seq),
        ).fetchone()
        return found

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
