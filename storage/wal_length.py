"""Whether a log's file is as long as its head says: LMDB answers one that is too short with SIGBUS."""

from pathlib import Path
from typing import Final

import lmdb

from ..model.exits import Exit
from .wal_errors import CURE_DAMAGE, LogUnusable
from .wal_files import DATA

MIN_FILE_BYTES: Final = 8192
"""The two meta pages of LMDB."""


def check_length(folder: Path, env: lmdb.Environment) -> None:
    """Raises LogUnusable if pages that the log speaks of lie behind the end of its file."""
    expected_bytes = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    found_bytes = (folder / DATA).stat().st_size
    if found_bytes < expected_bytes:
        raise damaged(folder, f"{DATA} has {found_bytes} bytes, not {expected_bytes}")


def damaged(folder: Path, what: str) -> LogUnusable:
    return LogUnusable(f"log.path {folder}: the log is damaged: {what}: {CURE_DAMAGE}", Exit.IO)
