"""The ledger's folder: one collector at a time, and errors in words for the person who must cure them."""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOG_FILE: Final = "log.sqlite"
PROJECTION_FILE: Final = "projection.duckdb"
_LOCK_FILE: Final = "lock"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class LedgerError(Exception):
    """Something about the ledger that stops us; the text names the folder and the cure."""


class LedgerUnusable(LedgerError):
    """Not a folder we may write in, or not a ledger of this version: the configuration must change."""


class LedgerInUse(LedgerError):
    """Another collector has it."""


class LedgerBroken(LedgerError):
    """The disk is full, or gave an error: the outcome of the last commit is unknown."""


def prepare_folder(folder: Path) -> None:
    """The folder exists afterwards and can be written to. Raises LedgerUnusable or LedgerBroken."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.write_bytes(b"can this folder be written to?")
        probe.unlink()
    except OSError as error:
        raise explain_os_error(folder, error) from None


class FolderLock:
    """Held while a collector runs. The kernel lets go of it however the process ends."""

    def __init__(self, folder: Path) -> None:
        """Raises LedgerInUse if another process holds it, LedgerUnusable if it cannot be had at all."""
        try:
            self._file = (folder / _LOCK_FILE).open("a+")
        except OSError as error:
            raise explain_os_error(folder, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise LedgerInUse(
                f"{folder} is in use by another collector (process {holder}): "
                "stop it, or give this one a folder of its own"
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def explain_os_error(folder: Path, error: OSError) -> LedgerError:
    if error.errno in _DISK_FULL:
        return LedgerBroken(f"{folder}: no space left: make room on this file system")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return LedgerUnusable(f"{folder} is not a folder: give the path of one")
    if error.errno == errno.EIO:
        return LedgerBroken(f"{folder}: the disk gives input/output errors: look at it before trying again")
    return LedgerUnusable(f"{folder} cannot be used: {error.strerror}: let this user write there, or give another")


@contextmanager
def sqlite_errors(folder: Path) -> Generator[None]:
    """SQLite's errors become ours, sorted by what one would do about them."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain_sqlite_error(folder, error) from error


def _explain_sqlite_error(folder: Path, error: sqlite3.Error) -> LedgerError:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return LedgerBroken(f"{folder}: no space left: make room on this file system")
    if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
        return LedgerBroken(f"{folder / LOG_FILE} is damaged ({error}): restore it from a backup; hosts will replay")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return LedgerUnusable(f"{folder / LOG_FILE} cannot be written ({error}): let this user write there")
    return LedgerBroken(f"{folder / LOG_FILE}: {error} ({name})")
