"""A copy of a ledger's log that can be trusted, and a ledger made from it: online, checked, never over anything.

A backup is a folder with the log as it stood at one moment and a manifest that says what must be in it. It keeps the
ledger's id: a collector that goes on from it is the same to its hosts, with a cursor that lies further back, and they
say again what is missing (docs/operations.md). The projection is not in it: it is made from the log.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from .ledger_batch import FIRST_DIGEST
from .ledger_folder import LOG_FILE, LedgerBroken, LedgerUnusable, explain_os_error, sqlite_errors
from .ledger_reader import LedgerReader
from .ledger_schema import FORMAT, read_meta

MANIFEST_FILE: Final = "manifest.json"
_PAGE_ENTRIES: Final = 1_000
_PAGE_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup must hold. ``digest`` is that of the last batch, and covers all of them; in hexadecimal."""

    format: int
    ledger_id: str
    last_log_id: int
    digest: str
    made_ns: int


def back_up(folder: Path, to: Path, now_ns: int) -> Manifest:
    """Copies the ledger in ``folder``, a collector running or not, and reads all of the copy.

    A collector beside it goes on; its write-ahead log grows while the file is copied. Raises LedgerUnusable,
    LedgerBroken.
    """
    if not (folder / LOG_FILE).is_file():
        raise LedgerUnusable(f"{folder} holds no ledger: there is no {LOG_FILE} in it")
    with _made_whole(to) as made:
        with sqlite_errors(folder), closing(_open(folder)) as source, closing(_open(made)) as copy:
            copy.execute("PRAGMA synchronous = FULL")
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, that no reader writes beside
        manifest = check(made, now_ns)
        _write(made / MANIFEST_FILE, json.dumps(asdict(manifest), indent=1) + "\n")
    return manifest


def restore(source: Path, to: Path) -> Manifest:
    """Makes the ledger folder ``to`` from a backup, after all of it was read. Raises LedgerUnusable, LedgerBroken."""
    told = read_manifest(source)
    with _made_whole(to) as made:
        _copy(source / LOG_FILE, made / LOG_FILE)
        found = check(made, told.made_ns)
        if found != told:
            raise LedgerBroken(f"{source} does not hold what its {MANIFEST_FILE} says: it has {found}; use another")
    return told


def check(folder: Path, now_ns: int) -> Manifest:
    """What is in a copy that nobody writes. Raises LedgerBroken if any page, batch or cursor of it is damaged."""
    with sqlite_errors(folder), closing(_open(folder)) as db:
        meta = read_meta(db)
        if meta.get("format") != str(FORMAT):
            raise LedgerUnusable(f"{folder / LOG_FILE} has format {meta.get('format')}, this gputally knows {FORMAT}")
        (verdict,) = db.execute("PRAGMA quick_check (1)").fetchone()
        if verdict != "ok":
            raise LedgerBroken(f"{folder / LOG_FILE} is damaged: {verdict}")
        newest = db.execute("SELECT id, digest FROM log ORDER BY id DESC LIMIT 1").fetchone() or (0, FIRST_DIGEST)
    _read_all(folder, newest[0])
    return Manifest(FORMAT, meta["ledger_id"], newest[0], newest[1].hex(), now_ns)


def read_manifest(source: Path) -> Manifest:
    """Raises LedgerUnusable if ``source`` is no backup."""
    try:
        told: dict[str, Any] = json.loads((source / MANIFEST_FILE).read_text())
        return Manifest(**told)
    except (OSError, ValueError, TypeError) as error:
        raise LedgerUnusable(f"{source} is no backup of a ledger: {MANIFEST_FILE}: {error}") from None


def _read_all(folder: Path, last_log_id: int) -> None:
    """Each batch against its digest, and the last frame of each stream against where its cursor stands."""
    heads: dict[Any, int] = {}
    with LedgerReader(folder) as reader:
        at = 0
        while entries := reader.read(at, _PAGE_ENTRIES, _PAGE_BYTES):
            if entries[0].log_id != at + 1:
                raise LedgerBroken(f"{folder / LOG_FILE} is damaged: entry {at + 1} of the log is missing")
            heads.update((entry.stream, entry.seq) for entry in entries)
            at = entries[-1].log_id
        for stream in {stream.host_id for stream in heads}:
            for state in reader.streams([stream], most=1 << 30):
                if heads.get(state.stream, 0) != state.committed_seq:
                    raise LedgerBroken(f"{folder / LOG_FILE} is damaged: frames of host {stream} are missing")
    if at != last_log_id:
        raise LedgerBroken(f"{folder / LOG_FILE} is damaged: it ends with entry {at}, not {last_log_id}")


def _open(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / LOG_FILE, isolation_level=None, timeout=10)


@contextmanager
def _made_whole(folder: Path) -> Generator[Path]:
    """A folder that is there with all that is in it, or not at all. Raises LedgerUnusable if anything is there now."""
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise LedgerUnusable(f"{folder} is there already, and is not overwritten: name another folder")
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        partial.mkdir(parents=True)
        try:
            yield partial
            _flush(partial)
            partial.rename(folder)  # in the place of an empty folder too: rename(2)
            _flush(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise explain_os_error(folder, error) from None


def _copy(source: Path, to: Path) -> None:
    try:
        shutil.copyfile(source, to)
    except FileNotFoundError:
        raise LedgerUnusable(f"{source.parent} is no whole backup: there is no {source.name} in it") from None
    with to.open("rb") as file:
        os.fsync(file.fileno())


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
