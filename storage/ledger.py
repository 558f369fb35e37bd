"""The ledger's log: every frame exactly as its host sent it, for ever, in SQLite.

This is the system of record; all else at the collector can be made again from
it. Two tables matter: ``log``, append-only (triggers refuse anything else), and
``stream``, the cursor and chain head of each (host, epoch). Both change in the
same transaction, with the write-ahead log flushed before it returns, so that an
acknowledgement sent afterwards can never be taken back. Sums are made in Python,
never here: SQLite's SUM stops at 64 bits, and a month of a large site has more.

A ``Ledger`` belongs to the one thread that commits; any number of
``LedgerReader`` may read beside it, each in one thread.
"""

import sqlite3
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .frame import genesis_hash, read_frame
from .ledger_folder import LOG_FILE, LedgerUnusable, sqlite_errors
from .ledger_rules import LARGEST_SEQ, Cursor, EntryKind, Offer, Ruling, Stored, StreamId, Verdict, decide

FORMAT: Final = 2
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS stream (
        id INTEGER PRIMARY KEY, host_id TEXT NOT NULL, epoch BLOB NOT NULL,
        committed_seq INTEGER NOT NULL, head_hash BLOB NOT NULL,
        tombstones INTEGER NOT NULL, replays INTEGER NOT NULL, skipped INTEGER NOT NULL,
        last_received_ns INTEGER NOT NULL,
        UNIQUE (host_id, epoch))""",
    # kind: EntryKind. body: the frame, a Skip's too; of a tombstone: why it was rejected. seq: the last of a Skip.
    """CREATE TABLE IF NOT EXISTS log (
        id INTEGER PRIMARY KEY, stream INTEGER NOT NULL REFERENCES stream (id), seq INTEGER NOT NULL,
        kind INTEGER NOT NULL, hash BLOB NOT NULL, received_ns INTEGER NOT NULL, body BLOB NOT NULL,
        UNIQUE (stream, seq))""",
    """CREATE TRIGGER IF NOT EXISTS log_is_never_changed BEFORE UPDATE ON log
        BEGIN SELECT RAISE (ABORT, 'the log is append-only'); END""",
    """CREATE TRIGGER IF NOT EXISTS log_is_never_cut BEFORE DELETE ON log
        BEGIN SELECT RAISE (ABORT, 'the log is append-only'); END""",
)
_WAL_PAGES = 4_000  # 16 MiB before SQLite folds its write-ahead log into the file


@dataclass(slots=True)
class _Place:
    """A stream inside one commit: its row (None: not there yet) and where its cursor has come to."""

    row: int | None
    cursor: Cursor
    tombstones: int = 0
    replays: int = 0
    skipped: int = 0
    moved: bool = False


class Ledger:
    """The writing end. Not for two threads at once, nor for two processes: see FolderLock."""

    def __init__(self, folder: Path) -> None:
        """Opens or creates the log. Raises LedgerUnusable or LedgerBroken."""
        self._folder = folder
        with sqlite_errors(folder):
            self._db = _connect(folder / LOG_FILE)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            with self._transaction():
                for statement in _SCHEMA:
                    self._db.execute(statement)
                self._db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (str(FORMAT),))
                self._db.execute("INSERT OR IGNORE INTO meta VALUES ('ledger_id', ?)", (uuid.uuid4().hex,))
            meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if meta["format"] != str(FORMAT):
            raise LedgerUnusable(
                f"{folder / LOG_FILE} has format {meta['format']}, this gputally knows {FORMAT}: "
                "run the gputally that wrote it, or give ledger.path a folder of its own"
            )
        self.ledger_id: str = meta["ledger_id"]

    def close(self) -> None:
        self._db.close()

    def cursor(self, stream: StreamId) -> Cursor:
        """Where the stream stands; for one never seen, 0 and the genesis hash. Raises LedgerBroken."""
        with sqlite_errors(self._folder):
            return self._place(stream).cursor

    def tombstones(self, stream: StreamId, from_seq: int, most: int = 100) -> list[tuple[int, str]]:
        """(seq, reason) of frames of this stream that were rejected, the oldest first, from ``from_seq`` on."""
        with sqlite_errors(self._folder):
            found = self._db.execute(
                "SELECT seq, body FROM log WHERE stream = (SELECT id FROM stream WHERE host_id = ? AND epoch = ?"
                " AND tombstones > 0) AND seq >= ? AND kind = ? ORDER BY seq LIMIT ?",
                (stream.host_id, stream.epoch, min(from_seq, LARGEST_SEQ), EntryKind.TOMBSTONE, most),
            ).fetchall()
        return [(seq, body.decode()) for seq, body in found]

    def commit(self, offers: Sequence[Offer], now_ns: int) -> list[Ruling]:
        """Rules on each offer in order and makes all that is new durable in one transaction.

        When it returns, what the rulings say is on the disk. Raises LedgerBroken: then
        the outcome is unknown, nothing may be acknowledged, and ``reopen`` comes next.
        """
        with sqlite_errors(self._folder), self._transaction():
            places: dict[StreamId, _Place] = {}
            rulings = [self._rule(offer, places, now_ns) for offer in offers]
            for place in places.values():
                self._move_cursor(place, now_ns)
        return rulings

    def reopen(self) -> None:
        """After an error: forget the connection, so that the next commit reads what really is there."""
        with sqlite_errors(self._folder):
            self._db.close()
            self._db = _connect(self._folder / LOG_FILE)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")

    def _rule(self, offer: Offer, places: dict[StreamId, _Place], now_ns: int) -> Ruling:
        place = places.get(offer.stream)
        if place is None:
            place = places[offer.stream] = self._place(offer.stream)
        verdict = decide(place.cursor, offer, lambda seq: self._stored(offer.stream, place, seq))
        rejected = offer.rejected if verdict is Verdict.COMMITTED else ""
        if verdict is Verdict.COMMITTED:
            self._append(offer, place, now_ns)
        elif verdict is Verdict.REPLAY and place.row is not None:
            place.replays += 1
            rejected = self._stored_reason(place.row, offer.seq)
        return Ruling(verdict, offer.seq, place.cursor.committed_seq, rejected)

    def _append(self, offer: Offer, place: _Place, now_ns: int) -> None:
        if place.row is None:
            place.row = self._add_stream(offer.stream)
        body = offer.rejected.encode() if offer.rejected else offer.body
        self._db.execute(
            "INSERT INTO log (stream, seq, kind, hash, received_ns, body) VALUES (?, ?, ?, ?, ?, ?)",
            (place.row, offer.seq, offer.kind, offer.hash, now_ns, body),
        )
        place.skipped += offer.seq - place.cursor.committed_seq if offer.kind is EntryKind.SKIP else 0
        place.cursor = Cursor(offer.seq, offer.chain_hash)
        place.tombstones += offer.kind is EntryKind.TOMBSTONE
        place.moved = True

    def _add_stream(self, stream: StreamId) -> int:
        added = self._db.execute(
            "INSERT INTO stream (host_id, epoch, committed_seq, head_hash, tombstones, replays, skipped,"
            " last_received_ns) VALUES (?, ?, 0, x'', 0, 0, 0, 0)",
            (stream.host_id, stream.epoch),
        )
        assert added.lastrowid is not None
        return added.lastrowid

    def _move_cursor(self, place: _Place, now_ns: int) -> None:
        if place.moved:
            self._db.execute(
                "UPDATE stream SET committed_seq = ?, head_hash = ?, tombstones = tombstones + ?,"
                " skipped = skipped + ?, last_received_ns = ? WHERE id = ?",
                (*_moved(place), now_ns, place.row),
            )
        if place.replays:
            self._db.execute("UPDATE stream SET replays = replays + ? WHERE id = ?", (place.replays, place.row))

    def _place(self, stream: StreamId) -> _Place:
        found = self._db.execute(
            "SELECT id, committed_seq, head_hash FROM stream WHERE host_id = ? AND epoch = ?",
            (stream.host_id, stream.epoch),
        ).fetchone()
        if found is None:
            return _Place(None, Cursor(0, genesis_hash(stream.host_id, stream.epoch)))
        return _Place(found[0], Cursor(found[1], found[2]))

    def _stored(self, stream: StreamId, place: _Place, seq: int) -> Stored | None:
        if seq == 0:
            genesis = genesis_hash(stream.host_id, stream.epoch)
            return Stored(genesis, genesis)
        found = self._db.execute(
            "SELECT hash, CASE WHEN kind = ? THEN body END FROM log WHERE stream = ? AND seq = ?",
            (EntryKind.SKIP, place.row, seq),
        ).fetchone()
        if found is None:
            return None
        digest, skip = found
        return Stored(digest, read_frame(skip).chain_hash if skip else digest)

    def _stored_reason(self, row: int, seq: int) -> str:
        found = self._db.execute(
            "SELECT body FROM log WHERE stream = ? AND seq = ? AND kind = ?", (row, seq, EntryKind.TOMBSTONE)
        ).fetchone()
        return "" if found is None else found[0].decode()

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _moved(place: _Place) -> tuple[int, bytes, int, int]:
    return place.cursor.committed_seq, place.cursor.head_hash, place.tombstones, place.skipped


def _connect(path: Path) -> sqlite3.Connection:
    # The thread that opens it, so that errors are told at start, is not the one that commits.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
