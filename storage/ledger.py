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

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .frame import genesis_hash, read_frame
from .ledger_batch import FIRST_DIGEST, Packed, cut, digest_of, pack
from .ledger_folder import LOG_FILE, LedgerUnusable, sqlite_errors
from .ledger_lookup import Lookup
from .ledger_rules import LARGEST_SEQ, Cursor, EntryKind, Offer, Ruling, Stored, StreamId, Verdict, decide
from .ledger_schema import FORMAT, connect, create, read_meta


@dataclass(slots=True)
class _Place:
    """A stream inside one commit: its row (None: not there yet) and where its cursor has come to."""

    row: int | None
    cursor: Cursor
    tombstones: int = 0
    replays: int = 0
    skipped: int = 0
    fresh: dict[int, Packed] = field(default_factory=dict[int, Packed])
    """What this commit adds, by its seq."""


class Ledger:
    """The writing end. Not for two threads at once, nor for two processes: see FolderLock."""

    def __init__(self, folder: Path) -> None:
        """Opens or creates the log. Raises LedgerUnusable or LedgerBroken."""
        self._folder = folder
        with sqlite_errors(folder):
            self._db = connect(folder / LOG_FILE)
            self._db.execute("PRAGMA journal_mode = WAL")
            known = read_meta(self._db).get("format", str(FORMAT))
            if known == str(FORMAT):
                with self._transaction():
                    create(self._db)
            meta = read_meta(self._db)
        if known != str(FORMAT):
            self._db.close()
            raise LedgerUnusable(
                f"{folder / LOG_FILE} has format {known}, this gputally knows {FORMAT}: "
                "run the gputally that wrote it, or give ledger.path a folder of its own"
            )
        self._lookup = Lookup(self._db)
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
                "SELECT stream, seq FROM tombstone WHERE stream = (SELECT id FROM stream WHERE host_id = ?"
                " AND epoch = ? AND tombstones > 0) AND seq >= ? ORDER BY seq LIMIT ?",
                (stream.host_id, stream.epoch, min(from_seq, LARGEST_SEQ), most),
            ).fetchall()
            return [(seq, self._reason(row, seq)) for row, seq in found]

    def commit(self, offers: Sequence[Offer], now_ns: int) -> list[Ruling]:
        """Rules on each offer in order and makes all that is new durable in one transaction.

        When it returns, what the rulings say is on the disk. Raises LedgerBroken: then
        the outcome is unknown, nothing may be acknowledged, and ``reopen`` comes next.
        """
        with sqlite_errors(self._folder), self._transaction():
            places: dict[StreamId, _Place] = {}
            added: list[Packed] = []
            rulings = [self._rule(offer, places, added) for offer in offers]
            self._append(added, now_ns)
            for place in places.values():
                self._move_cursor(place, now_ns)
        return rulings

    def reopen(self) -> None:
        """After an error: forget the connection, so that the next commit reads what really is there."""
        with sqlite_errors(self._folder):
            self._db.close()
            self._db = connect(self._folder / LOG_FILE)
            self._lookup = Lookup(self._db)

    def _rule(self, offer: Offer, places: dict[StreamId, _Place], added: list[Packed]) -> Ruling:
        place = places.get(offer.stream)
        if place is None:
            place = places[offer.stream] = self._place(offer.stream)
        verdict = decide(place.cursor, offer, lambda seq: self._stored(offer.stream, place, seq))
        rejected = offer.rejected if verdict is Verdict.COMMITTED else ""
        if verdict is Verdict.COMMITTED:
            added.append(self._take(offer, place))
        elif verdict is Verdict.REPLAY and place.row is not None:
            place.replays += 1
            rejected = self._rejection(place, offer.seq)
        return Ruling(verdict, offer.seq, place.cursor.committed_seq, rejected)

    def _take(self, offer: Offer, place: _Place) -> Packed:
        if place.row is None:
            place.row = self._add_stream(offer.stream)
        body = offer.rejected.encode() if offer.rejected else offer.body
        entry = place.fresh[offer.seq] = Packed(place.row, offer.seq, offer.kind, offer.hash, body)
        place.skipped += offer.seq - place.cursor.committed_seq if offer.kind is EntryKind.SKIP else 0
        place.cursor = Cursor(offer.seq, offer.chain_hash)
        place.tombstones += offer.kind is EntryKind.TOMBSTONE
        return entry

    def _append(self, added: list[Packed], now_ns: int) -> None:
        newest = self._db.execute("SELECT id, digest FROM log ORDER BY id DESC LIMIT 1").fetchone()
        log_id, digest = newest or (0, FIRST_DIGEST)
        for entries in cut(added):
            log_id += len(entries)
            body = pack(entries)
            digest = digest_of(digest, log_id, len(entries), now_ns, body)
            self._db.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?)", (log_id, len(entries), now_ns, digest, body))
            ends = {entry.stream: entry.seq for entry in entries}
            self._db.executemany(
                "INSERT INTO run VALUES (?, ?, ?)", [(stream, seq, log_id) for stream, seq in ends.items()]
            )
        rejected = [(entry.stream, entry.seq) for entry in added if entry.kind is EntryKind.TOMBSTONE]
        self._db.executemany("INSERT INTO tombstone VALUES (?, ?)", rejected)

    def _add_stream(self, stream: StreamId) -> int:
        added = self._db.execute(
            "INSERT INTO stream (host_id, epoch, committed_seq, head_hash, tombstones, replays, skipped,"
            " last_received_ns) VALUES (?, ?, 0, x'', 0, 0, 0, 0)",
            (stream.host_id, stream.epoch),
        )
        assert added.lastrowid is not None
        return added.lastrowid

    def _move_cursor(self, place: _Place, now_ns: int) -> None:
        if place.fresh:
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
        entry = self._entry(place, seq)
        if entry is None:
            return None
        skips = entry.kind is EntryKind.SKIP
        return Stored(entry.hash, read_frame(entry.body).chain_hash if skips else entry.hash)

    def _entry(self, place: _Place, seq: int) -> Packed | None:
        if seq in place.fresh:
            return place.fresh[seq]
        return None if place.row is None else self._lookup.find(place.row, seq)

    def _rejection(self, place: _Place, seq: int) -> str:
        """Why the frame there is a tombstone; empty if it is none."""
        entry = self._entry(place, seq)
        return entry.body.decode() if entry is not None and entry.kind is EntryKind.TOMBSTONE else ""

    def _reason(self, row: int, seq: int) -> str:
        entry = self._lookup.find(row, seq)
        return "" if entry is None else entry.body.decode()

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
