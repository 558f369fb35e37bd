"""One daemon for one host: two of them would both bill every nanosecond.

The lock is a flock(2) on a file named after the host's id, held as long as the process lives; the
kernel lets go of it however the process ends. Its folder must be one that no tenant can write, and
the file one that no tenant can open, for whoever opens a file can hold its lock.
"""

import fcntl
import logging
import os
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..model.exits import Exit

log = logging.getLogger(__name__)

SHARED_FOLDER = Path("/run/gputally")
"""What systemd's RuntimeDirectory= makes. Only root makes folders in /run."""
TRIES = 10


class HostLocked(Exception):
    """Another daemon has this host (69), or no lock can be had in the folder (78). Names the file and the cure."""

    def __init__(self, why: str, exit_code: Exit = Exit.CONFIG) -> None:
        super().__init__(f"host.lock_folder: {why}")
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class _Folder:
    """Opened, so that what is checked is what is used."""

    path: Path
    fd: int

    def locked_file(self, host_id: str) -> "_LockFile":
        return _LockFile(self.path / f"host-{sha256(host_id.encode()).hexdigest()[:32]}.lock", self.fd)


@contextmanager
def host_lock(
    host_id: str, folder: str | None, environ: Mapping[str, str] = os.environ, shared: Path = SHARED_FOLDER
) -> Generator[Path]:
    """Holds this host for the block, and gives the lock's file. ``folder`` is the configured one.

    Raises HostLocked.
    """
    where = _open_default(shared, environ) if folder is None else _open_folder(Path(folder), shared)
    try:
        file = where.locked_file(host_id)
        fd = file.take(host_id)
    finally:
        os.close(where.fd)
    try:
        yield file.path
    finally:
        os.close(fd)  # the file stays: to remove it would open a moment for two locks of one name


def _open_default(shared: Path, environ: Mapping[str, str]) -> _Folder:
    """The shared folder, or for a user who cannot write it one of its own."""
    if os.geteuid() == 0 or os.access(shared, os.W_OK | os.X_OK, effective_ids=True):
        return _open_folder(shared, shared)
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    private = Path(runtime) / "gputally" if runtime.startswith("/") else Path(f"/tmp/gputally-{os.geteuid()}")
    log.warning("%s cannot be written: the lock in %s keeps off other daemons of this user only", shared, private)
    return _open_folder(private, shared, 0o700)


def _open_folder(path: Path, shared: Path, mode: int = 0o755) -> _Folder:
    """Made if need be; refused if a stranger could hold a lock in it."""
    try:
        with suppress(FileExistsError):
            path.mkdir(mode)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise HostLocked(f"{path} cannot be used ({error.strerror}): make it, or set another folder") from None
    try:
        # Whomever root gave the shared folder to: root itself must see the daemon of its own service user.
        _refuse_strangers(path, os.fstat(fd), anybody=path == shared)
    except HostLocked:
        os.close(fd)
        raise
    return _Folder(path, fd)


def _refuse_strangers(path: Path, told: os.stat_result, anybody: bool) -> None:
    if told.st_uid not in (0, os.geteuid()) and not anybody:
        raise HostLocked(f"{path} belongs to uid {told.st_uid}, who could take the lock: set another folder")
    if told.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HostLocked(f"{path} can be written by others, who could take the lock: chmod go-w {path}")


@dataclass(frozen=True, slots=True)
class _LockFile:
    path: Path
    folder_fd: int

    def take(self, host_id: str) -> int:
        """A descriptor that holds the lock.

        The file may be removed by somebody who tidies up between opening and locking: then once more.
        """
        for _ in range(TRIES):
            fd = self._open()
            if fd is not None and self._holds(fd, host_id):
                return fd
        raise HostLocked(f"{self.path} is removed again and again by something that tidies up", Exit.UNAVAILABLE)

    def _holds(self, fd: int, host_id: str) -> bool:
        try:
            self._lock(fd)
            if self._is_still(fd):
                _write_holder(fd, host_id)
                return True
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return False

    def _open(self) -> int | None:
        """None: it was removed just now."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with suppress(FileExistsError):
                return self._given_to_owner(self._open_at(flags | os.O_CREAT | os.O_EXCL))
            return self._plain(self._open_at(flags))
        except FileNotFoundError:
            return None
        except OSError as error:
            cure = "if no daemon of another user runs, remove it; or set another folder"
            raise HostLocked(f"{self.path} cannot be opened ({error.strerror}): {cure}") from None

    def _open_at(self, flags: int) -> int:
        return os.open(self.path.name, flags, 0o600, dir_fd=self.folder_fd)

    def _given_to_owner(self, fd: int) -> int:
        """What root makes in the folder of its service user, that user must be able to lock later."""
        folder = os.fstat(self.folder_fd)
        if os.geteuid() == 0 != folder.st_uid:
            os.fchown(fd, folder.st_uid, folder.st_gid)
        return fd

    def _plain(self, fd: int) -> int:
        told = os.fstat(fd)
        if not stat.S_ISREG(told.st_mode) or told.st_nlink > 1:
            os.close(fd)
            raise HostLocked(f"{self.path} is no plain file with one name: remove it, or set another folder")
        return fd

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why = f"{self.path} is held by process {_holder(fd)}, another daemon of this host: stop that one first"
            raise HostLocked(why, Exit.UNAVAILABLE) from None

    def _is_still(self, fd: int) -> bool:
        """Whether the locked file is still the one of that name."""
        try:
            told = os.stat(self.path.name, dir_fd=self.folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(told, os.fstat(fd))


def _write_holder(fd: int, host_id: str) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {host_id}\n".encode(), 0)


def _holder(fd: int) -> str:
    """The pid that stands in the file: written just after the lock was taken."""
    pid = os.pread(fd, 32, 0).split(b" ")[0]
    return pid.decode() if pid.isdigit() else "(not known yet)"
