"""Reading the ledger's log beside the one who writes it. Every answer is bounded."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .ledger_folder import LOG_FILE, sqlite_errors
from .ledger_rules import EntryKind, StreamId


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. ``body`` is the frame as received; of a tombstone, why it was rejected.

    ``seq`` of a Skip is the last that it stands for.
    """

    log_id: int
    stream: StreamId
    seq: int
    kind: EntryKind
    hash: bytes
    received_ns: int
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where one stream stands."""

    stream: StreamId
    committed_seq: int
    head_hash: bytes
    tombstones: int
    """Frames that were rejected: their content is at the host, in its table of dead letters."""
    replays: int
    """Frames that came again and were acknowledged again."""
    skipped: int
    """Frames that a Skip stands for: the host has them no more."""
    last_received_ns: int


class LedgerReader:
    """For one thread at a time; closes each read before it returns, so the writer's log can be folded."""

    def __init__(self, folder: Path) -> None:
        """Raises LedgerUnusable or LedgerBroken."""
        self._folder = folder
        with sqlite_errors(folder):
            self._db = sqlite3.connect(folder / LOG_FILE, isolation_level=None, check_same_thread=False, timeout=10)
            self._db.execute("PRAGMA query_only = 1")

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
            rows = self._db.execute(
                "SELECT log.id, host_id, epoch, seq, kind, hash, received_ns, body"
                " FROM log JOIN stream ON stream.id = log.stream WHERE log.id > ? ORDER BY log.id LIMIT ?",
                (after_log_id, most),
            )
            for log_id, host_id, epoch, seq, kind, digest, received_ns, body in rows:
                stream = StreamId(host_id, epoch)
                entries.append(Entry(log_id, stream, seq, EntryKind(kind), digest, received_ns, body))
                size_bytes += len(body)
                if size_bytes >= most_bytes:
                    break
            rows.close()
        return entries

    def held_through(self, stream: StreamId, before_log_id: int) -> int:
        """Where the stream's cursor was when the entry ``before_log_id`` was committed; 0: nothing was there.

        Halves the stream, whose entries were committed in the order of their seq. Raises LedgerBroken.
        """
        with sqlite_errors(self._folder):
            found = self._db.execute(
                "SELECT id, committed_seq FROM stream WHERE host_id = ? AND epoch = ?", (stream.host_id, stream.epoch)
            ).fetchone()
            if found is None:
                return 0
            row, beyond = found[0], found[1] + 1
            low = 0
            while low + 1 < beyond:
                middle = (low + beyond) // 2
                entry = self._db.execute(
                    "SELECT seq, id FROM log WHERE stream = ? AND seq >= ? ORDER BY seq LIMIT 1", (row, middle)
                ).fetchone()
                if entry is not None and entry[1] < before_log_id:
                    low = entry[0]
                else:
                    beyond = middle
        return low

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
