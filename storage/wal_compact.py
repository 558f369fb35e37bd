"""A log that once was long and is short again is copied together, where there is room for both."""

import contextlib
import logging
import shutil
from pathlib import Path
from typing import Final

import lmdb

from .wal_errors import LogUnusable
from .wal_files import CREATING, DATA, free_bytes, reserve, sync_folder
from .wal_tables import Tables, open_to_look

log = logging.getLogger(__name__)

_FREE_PART: Final = 4
"""Compacted if at most one page in so many of those ever used is in use."""
_SMALLEST_BYTES: Final = 16 * 1024 * 1024


def compact(folder: Path, cap_bytes: int) -> bool:
    """Whether it was. Before the log is opened, and only for one that is whole; what fails leaves it as it was."""
    room = folder / CREATING
    try:
        with open_to_look(folder, lock=False) as env:
            if not _is_worth_it(env, folder, cap_bytes):
                return False
            room.mkdir(mode=0o750, exist_ok=True)
            env.copy(str(room), compact=True)
        # The copy has only what is used: without its reservation a full disk would fail a commit.
        reserve(folder, room / DATA, max(cap_bytes, (folder / DATA).stat().st_size))
        (room / DATA).rename(folder / DATA)
        sync_folder(folder)
    except (lmdb.Error, LogUnusable, OSError) as error:
        log.warning("%s: the log could not be compacted: %s", folder, error)
        return False
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(room, ignore_errors=True)
    return True


def _is_worth_it(env: lmdb.Environment, folder: Path, cap_bytes: int) -> bool:
    ever_used_bytes = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    size_bytes = (folder / DATA).stat().st_size
    if ever_used_bytes < _SMALLEST_BYTES or size_bytes < ever_used_bytes:
        return False
    tables = Tables(env)
    with env.begin() as txn:
        used_bytes = tables.used_bytes(txn)
    return used_bytes * _FREE_PART <= ever_used_bytes and free_bytes(folder) >= max(cap_bytes, size_bytes)
