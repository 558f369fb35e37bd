"""The log's folder: one owner, a file that is whole or not there, and its space reserved beforehand.

The environment is made in a folder inside, closed, given all its space, flushed
and only then renamed to its place: a crash on the way leaves nothing that could
be taken for a log. An all-zero file made first would be no valid environment,
and a sparse one meets a full disk in the middle of a commit.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

import lmdb

from ..model.exits import Exit
from .wal_errors import LogUnusable
from .wal_platter import DISK, Platter
from .wal_state import new_state
from .wal_tables import Tables, open_environment

DATA: Final = "data.mdb"
OWNER: Final = "owner"
CREATING: Final = "creating"
_ZEROED_BYTES: Final = 16 * 1024 * 1024
"""About what two days of acknowledged frames take; pages are used again before new ones are."""
_CURE_SPACE: Final = "free some space, or lower log.cap_mib"
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Ownership:
    """One process per log: the lock on the file ``owner``, which holds the pid. Let go by ``release``."""

    def __init__(self, folder: Path) -> None:
        """Raises LogUnusable if another process has it, or the folder cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._file = os.fdopen(os.open(folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640), "rb+", 0)
        except OSError as error:
            raise unwritable(folder, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self._file.read(32).decode(errors="replace").strip() or "unknown"
            self._file.close()
            raise LogUnusable(
                f"log.path {folder} is in use by process {pid}: stop it, or give this daemon a log of its own",
                Exit.UNAVAILABLE,
            ) from None
        except OSError as error:  # a file system without locks
            self._file.close()
            raise unwritable(folder, error) from None
        with contextlib.suppress(OSError):  # the pid only helps a reader; a full disk must not matter here
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n".encode())

    def release(self) -> None:
        self._file.close()


def owner_of(folder: Path) -> int | None:
    """The pid of the process that has the log open for writing, if one has."""
    try:
        with (folder / OWNER).open("rb", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read(32).strip() or b"0")
    except OSError:
        pass
    return None


def make_if_missing(folder: Path, host_id: str, cap_bytes: int, platter: Platter = DISK) -> bool:
    """A log of a fresh epoch, unless there is one. Whether it was made. The caller owns the folder."""
    try:
        shutil.rmtree(folder / CREATING, ignore_errors=True)  # left behind by a crash
        if (folder / DATA).exists():
            return False
        _make(folder, host_id, cap_bytes, platter)
    except lmdb.Error as error:
        raise LogUnusable(f"log.path {folder}: the log cannot be made: {error}", Exit.IO) from None
    except OSError as error:
        raise unwritable(folder, error, cap_bytes) from None
    return True


def _make(folder: Path, host_id: str, cap_bytes: int, platter: Platter) -> None:
    room = folder / CREATING
    room.mkdir(mode=0o750)
    try:
        _make_environment(room, host_id, cap_bytes, platter)
        _write_zeros(room / DATA, min(cap_bytes, _ZEROED_BYTES))
        reserve(folder, room / DATA, cap_bytes)
        (room / DATA).rename(folder / DATA)
        sync_folder(folder)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _make_environment(room: Path, host_id: str, cap_bytes: int, platter: Platter) -> None:
    env = open_environment(room, cap_bytes, flush=platter.flush)
    try:
        tables = Tables(env, create=True)
        with env.begin(write=True) as txn:
            tables.put_state(txn, new_state(host_id, platter.epoch or os.urandom(16)))
    finally:
        env.close()


def _write_zeros(file: Path, through_bytes: int) -> None:
    """Reserved blocks are only noted as zero, and the first write to each makes a commit dearer by a fifth."""
    with file.open("ab") as end:
        end.write(bytes(max(through_bytes - end.tell(), 0)))


def missing_bytes(folder: Path, cap_bytes: int) -> int:
    """What the log's file lacks of ``cap_bytes``. Asked before anything is made: a failing fallocate takes what
    there is on its way to fail.
    """
    file = folder / DATA
    return cap_bytes - (file.stat().st_blocks * 512 if file.exists() else 0)


def reserve(folder: Path, file: Path, cap_bytes: int) -> None:
    """Every block of the file is the log's from here on, so that a full disk never fails a commit.

    Raises LogUnusable where there is no room after all.
    """
    fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.posix_fallocate(fd, 0, cap_bytes)
        os.fsync(fd)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise no_space(folder, cap_bytes, free_bytes(folder)) from None
        raise
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """What whoever is not root may still take."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def sync_file(file: Path) -> None:
    """What was written to it outlives a power cut. Raises OSError."""
    fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in it outlives a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def no_space(folder: Path, needed_bytes: int, free_bytes: int) -> LogUnusable:
    """Where it is needed, how much of it, and what to do."""
    return LogUnusable(
        f"log.path {folder}: no room for the log: {needed_bytes} bytes needed, {free_bytes} free: {_CURE_SPACE}",
        Exit.IO,
    )


def unwritable(folder: Path, error: OSError, needed_bytes: int = 4096) -> LogUnusable:
    """What an error of the file system means to the one who must mend it."""
    if error.errno in _NO_SPACE:
        return no_space(folder, needed_bytes, free_bytes(folder))
    if error.errno == errno.EIO:
        return LogUnusable(f"log.path {folder}: the disk fails: {error.strerror}", Exit.IO)
    return LogUnusable(
        f"log.path {folder} cannot be written ({error.strerror}): give it to the daemon's user, or change log.path"
    )
