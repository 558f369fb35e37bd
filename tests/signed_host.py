"""A host that signs its log, the ledger it ends up in, and what a forger with an editor does to that."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from gputally.collector.examine import examine
from gputally.daemon.signing import SIGN_EVERY_S, Signing
from gputally.model.usage import Batch
from gputally.plugins.signing_key import KeyFile, make_key_file, write_key_file
from gputally.proto.convert import encode_batch
from gputally.storage.frame import Frame, make_frame, read_frame, seq_of
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_batch import FIRST_DIGEST, Packed, digest_of, pack
from gputally.storage.ledger_folder import LOG_FILE
from gputally.storage.ledger_reader import LedgerReader
from gputally.storage.ledger_rules import EntryKind, StreamId, Verdict
from gputally.storage.wal import Entry, Log

HOST = "gpu-01"
MIB = 1024 * 1024


class SignedHost:
    """Writes frames; every ``every``-th carries the signature of the one before."""

    def __init__(self, folder: Path, host_id: str = HOST, key: KeyFile | None = None) -> None:
        self.key_path = folder / f"{host_id}.key"
        self.file = key or make_key_file()
        write_key_file(self.key_path, self.file, replace=False)
        self.log = Log.open(folder / f"log-{host_id}", host_id, MIB)
        self.signing = Signing.open(self.key_path, self.log, host_id)
        self.host_id = host_id
        self.now_s = 0.0

    def write(self, frames: int, every: int = 3) -> None:
        for number in range(frames):
            batch = Batch(self.host_id, "boot", complete_through_ns=self.log.stat().last_seq)
            self.now_s += SIGN_EVERY_S
            signed = self.signing.sign(self.now_s) if number % every == 0 else None
            batch = batch if signed is None else signed.on(batch)
            self.log.append([Entry(0, encode_batch(batch))], None)
            if signed is not None:
                self.signing.kept(signed, self.now_s)

    def rotate(self) -> None:
        self.file = self.file.succeeded()
        write_key_file(self.key_path, self.file, replace=True)

    def frames(self) -> list[Frame]:
        return [read_frame(raw) for raw in self.log.read(1, 100_000, 1 << 30)]


def into_ledger(folder: Path, *hosts: SignedHost) -> Path:
    """What the collector makes of all that the hosts have."""
    folder.mkdir(exist_ok=True)
    ledger = Ledger(folder)
    for host in hosts:
        stream = StreamId(host.host_id, host.log.epoch)
        offers = [examine(frame.to_bytes(), stream, frame.seq) for frame in host.frames()]
        rulings = ledger.commit(offers, now_ns=1)
        assert {ruling.verdict for ruling in rulings} <= {Verdict.COMMITTED, Verdict.REPLAY}
    ledger.close()
    return folder


@contextmanager
def tampering(folder: Path) -> Iterator[sqlite3.Connection]:
    """The ledger's file as root on the collector's machine has it."""
    db = sqlite3.connect(folder / LOG_FILE)
    for table in ("log", "run"):
        db.execute(f"DROP TRIGGER IF EXISTS {table}_is_never_changed")
        db.execute(f"DROP TRIGGER IF EXISTS {table}_is_never_cut")
    yield db
    db.commit()
    db.close()


@contextmanager
def forging(folder: Path) -> Iterator[sqlite3.Connection]:
    """As a forger with our own code has it: one row an entry in ``log``, and batches and digests are made to fit."""
    with tampering(folder) as db:
        with LedgerReader(folder) as reader:
            entries = reader.read(0, 10_000, 1 << 30)
        rows = {StreamId(host, epoch): row for row, host, epoch in db.execute("SELECT id, host_id, epoch FROM stream")}
        db.execute("CREATE TEMP TABLE log (id INTEGER PRIMARY KEY, stream, seq, kind, hash, body)")
        db.executemany(
            "INSERT INTO temp.log VALUES (?, ?, ?, ?, ?, ?)",
            [(e.log_id, rows[e.stream], e.seq, e.kind, e.hash, e.body) for e in entries],
        )
        yield db
        _repack(db)


def _repack(db: sqlite3.Connection) -> None:
    """Entries whose ids follow each other are a batch: who deletes one leaves a hole."""
    db.execute("DELETE FROM main.log")
    db.execute("DELETE FROM main.run")
    digest = FIRST_DIGEST
    rows = db.execute("SELECT id, stream, seq, kind, hash, body FROM temp.log ORDER BY id").fetchall()
    for _, group in groupby(enumerate(rows), lambda one: one[1][0] - one[0]):
        batch = [row for _, row in group]
        entries = [
            Packed(stream, seq if kind == EntryKind.TOMBSTONE else seq_of(body), EntryKind(kind), digest, body)
            for _, stream, seq, kind, digest, body in batch
        ]
        log_id, body = batch[-1][0], pack(entries)
        digest = digest_of(digest, log_id, len(entries), 1, body)
        db.execute("INSERT INTO main.log VALUES (?, ?, 1, ?, ?)", (log_id, len(entries), digest, body))
        ends = {stream: max(e.seq for e in entries if e.stream == stream) for stream in {e.stream for e in entries}}
        db.executemany("INSERT INTO main.run VALUES (?, ?, ?)", [(*end, log_id) for end in ends.items()])


def rewrite(folder: Path, frames: list[Frame]) -> None:
    """Puts other frames in the place of those of the only stream: hashes, links and cursor all made to fit."""
    with forging(folder) as db:
        previous = frames[0].previous_hash
        for frame in frames:
            made = make_frame(frame.epoch, frame.seq, previous, frame.record_count, frame.payload())
            put(db, made)
            previous = made.hash
        db.execute("UPDATE stream SET committed_seq = ?, head_hash = ?", (frames[-1].seq, previous))


def put(db: sqlite3.Connection, frame: Frame) -> None:
    db.execute("UPDATE log SET hash = ?, body = ? WHERE seq = ?", (frame.hash, frame.to_bytes(), frame.seq))


def changed(frame: Frame, batch: Batch) -> Frame:
    return make_frame(frame.epoch, frame.seq, frame.previous_hash, frame.record_count, encode_batch(batch))
