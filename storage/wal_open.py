"""Opening a log: whose it is, whether it is whole enough to be touched, and its space.

LMDB answers a file that is too short with SIGBUS and an empty one by making a
new log in it, so both are looked for before it may read a page.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lmdb

from ..model.exits import Exit
from .checkpoint import DamagedCheckpoint
from .wal_errors import CURE_DAMAGE, HostIdChanged, LogUnusable
from .wal_files import DATA, Ownership, make_if_missing, require_space, reserve, unwritable
from .wal_platter import DISK, Platter
from .wal_state import LogState
from .wal_tables import Tables, open_environment

MIN_FILE_BYTES: Final = 8192
"""The two meta pages of LMDB."""


@dataclass(frozen=True, slots=True)
class OpenLog:
    """An environment that is ours alone until ``close``."""

    folder: Path
    env: lmdb.Environment
    tables: Tables
    epoch: bytes
    owner: Ownership
    host_id: str
    platter: Platter

    def close(self) -> None:
        self.env.close()
        self.owner.release()


def open_log(folder: Path, host_id: str, cap_bytes: int, platter: Platter = DISK) -> OpenLog:
    """Raises LogUnusable, or HostIdChanged."""
    owner = Ownership(folder)
    try:
        require_space(folder, cap_bytes)
        make_if_missing(folder, host_id, cap_bytes, platter)
        return _open(folder, host_id, cap_bytes, owner, platter)
    except BaseException:
        owner.release()
        raise


def open_again(closed: OpenLog, cap_bytes: int) -> OpenLog:
    """The environment of a log that is still ours, after ``env.close()``. Raises LogUnusable."""
    return _open(closed.folder, closed.host_id, cap_bytes, closed.owner, closed.platter)


def check_length(folder: Path, env: lmdb.Environment) -> None:
    """Raises LogUnusable if pages that the log speaks of lie behind the end of its file."""
    expected_bytes = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    found_bytes = (folder / DATA).stat().st_size
    if found_bytes < expected_bytes:
        raise _damaged(folder, f"{DATA} has {found_bytes} bytes, not {expected_bytes}")


def _open(folder: Path, host_id: str, cap_bytes: int, owner: Ownership, platter: Platter) -> OpenLog:
    file_bytes = (folder / DATA).stat().st_size
    if file_bytes < MIN_FILE_BYTES:
        raise _damaged(folder, f"{DATA} has {file_bytes} bytes")
    try:
        # A cap that was lowered must not hide pages in use behind the end of the map.
        env = open_environment(folder, max(cap_bytes, file_bytes), flush=platter.flush)
    except lmdb.Error as error:
        raise _damaged(folder, str(error)) from None
    try:
        check_length(folder, env)
        reserve(folder, folder / DATA, max(cap_bytes, file_bytes))
        state, tables = _look(folder, env)
        _check_host(folder, state.host_id, host_id)
        return OpenLog(folder, env, tables, state.epoch, owner, host_id, platter)
    except OSError as error:
        env.close()
        raise unwritable(folder, error) from None
    except BaseException:
        env.close()
        raise


def _look(folder: Path, env: lmdb.Environment) -> tuple[LogState, Tables]:
    try:
        env.reader_check()
        tables = Tables(env)
        with env.begin() as txn:
            return tables.state(txn), tables
    except (lmdb.Error, DamagedCheckpoint) as error:
        raise _damaged(folder, str(error)) from None


def _check_host(folder: Path, written_by: str, host_id: str) -> None:
    if written_by != host_id:
        raise HostIdChanged(
            f"log.path {folder} was written by host {written_by!r}, but host.id is now {host_id!r}: "
            f"set host.id back, or let the old host drain its log and give this one a log.path of its own"
        )


def _damaged(folder: Path, what: str) -> LogUnusable:
    return LogUnusable(f"log.path {folder}: the log is damaged: {what}: {CURE_DAMAGE}", Exit.IO)
