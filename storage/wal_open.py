"""Opening a log: whose it is, whether it is whole enough to be touched, and its space.

LMDB answers a file that is too short with SIGBUS and an empty one by making a
new log in it, so both are looked for before it may read a page.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import lmdb

from .checkpoint import DamagedCheckpoint
from .wal_check import check, problems_of
from .wal_clean import forget_clean, is_clean, say_clean
from .wal_compact import compact
from .wal_epoch import Mend, Recovery, no_mending
from .wal_errors import check_host
from .wal_files import DATA, Ownership, make_if_missing, missing_bytes, reserve, unwritable
from .wal_length import MIN_FILE_BYTES, check_length, damaged
from .wal_platter import DISK, Platter
from .wal_quarantine import make_room
from .wal_renewal import Renewal, renew
from .wal_state import LogState
from .wal_tables import Tables, open_environment

log = logging.getLogger(__name__)


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
    recovery: Recovery | None = None
    """What became of the log before, if this one was begun anew when it was opened."""

    def close(self, *, doubt: bool = False) -> None:
        """With ``doubt`` the next who opens it checks it."""
        self.env.close()
        if not doubt:
            say_clean(self.folder)
        self.owner.release()


def open_log(folder: Path, host_id: str, cap_bytes: int, platter: Platter = DISK, mend: Mend = no_mending) -> OpenLog:
    """Raises LogUnusable, or HostIdChanged."""
    owner = Ownership(folder)
    try:
        make_room(folder, missing_bytes(folder, cap_bytes))
        is_new = make_if_missing(folder, host_id, cap_bytes, platter)
        try:
            recovery = None if is_new or is_clean(folder) else _recover(folder, host_id, cap_bytes, platter, mend)
            compact(folder, cap_bytes)
            forget_clean(folder)
        except OSError as error:
            raise unwritable(folder, error, cap_bytes) from None
        return replace(_open(folder, host_id, cap_bytes, owner, platter), recovery=recovery)
    except BaseException:
        owner.release()
        raise


def open_again(closed: OpenLog, cap_bytes: int, doubt: bool = False, mend: Mend = no_mending) -> OpenLog:
    """The environment of a log that is still ours, after ``env.close()``; checked first if there is ``doubt``.

    Raises LogUnusable, OSError.
    """
    recovery = _recover(closed.folder, closed.host_id, cap_bytes, closed.platter, mend) if doubt else None
    opened = _open(closed.folder, closed.host_id, cap_bytes, closed.owner, closed.platter)
    return replace(opened, recovery=recovery or closed.recovery)


def open_next(closed: OpenLog, cap_bytes: int, reason: str, mend: Mend = no_mending) -> OpenLog:
    """A new epoch with what is not acknowledged, after ``env.close()``. Raises LogUnusable, OSError.

    What cannot be read of it is mended as at any other time.
    """
    recovery = renew(Renewal(closed.folder, closed.host_id, cap_bytes, closed.platter, reason, reason, mend))
    is_damaged = bool(recovery.lost) or not recovery.knows_head
    log.log(logging.ERROR if is_damaged else logging.INFO, "%s: %s", closed.folder, recovery)
    opened = _open(closed.folder, closed.host_id, cap_bytes, closed.owner, closed.platter)
    return replace(opened, recovery=recovery if is_damaged else closed.recovery)


def _recover(folder: Path, host_id: str, cap_bytes: int, platter: Platter, mend: Mend) -> Recovery | None:
    """None: the log is whole."""
    problems = check(folder) if platter.child else problems_of(folder)
    if not problems:
        return None
    log.error("log.path %s is damaged (%s): what can be read goes on in a new epoch", folder, problems[0])
    recovery = renew(Renewal(folder, host_id, cap_bytes, platter, "damage", problems[0], mend))
    log.error("%s: %s", folder, recovery)
    return recovery


def _open(folder: Path, host_id: str, cap_bytes: int, owner: Ownership, platter: Platter) -> OpenLog:
    file_bytes = (folder / DATA).stat().st_size
    if file_bytes < MIN_FILE_BYTES:
        raise damaged(folder, f"{DATA} has {file_bytes} bytes")
    try:
        # A cap that was lowered must not hide pages in use behind the end of the map.
        env = open_environment(folder, max(cap_bytes, file_bytes), flush=platter.flush)
    except lmdb.Error as error:
        raise damaged(folder, str(error)) from None
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        check_length(folder, env)
        reserve(folder, folder / DATA, max(cap_bytes, file_bytes))
        state, tables = _look(folder, env)
        check_host(folder, state.host_id, host_id)
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
        raise damaged(folder, str(error)) from None
