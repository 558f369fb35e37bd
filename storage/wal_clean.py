"""How a log says that its owner closed it: a file beside it, of exactly the data file that was closed.

It is made when everything is flushed and closed, and is gone for sure before anything is written. Where it is missing,
or speaks of another file, or of one that was touched since, the log is checked before it is opened.
"""

import contextlib
from pathlib import Path
from typing import Final

from .wal_files import DATA, sync_folder

CLEAN: Final = "clean"


def say_clean(folder: Path) -> None:
    """After the environment was closed. A disk that does not take it only costs a check at the next start."""
    with contextlib.suppress(OSError):
        (folder / CLEAN).write_text(_fingerprint(folder))


def is_clean(folder: Path) -> bool:
    """Whether nobody has touched the file since its owner closed it."""
    try:
        return (folder / CLEAN).read_text() == _fingerprint(folder)
    except (OSError, UnicodeDecodeError):
        return False


def forget_clean(folder: Path) -> None:
    """Before the first write. Raises OSError if it cannot be made sure of."""
    (folder / CLEAN).unlink(missing_ok=True)
    sync_folder(folder)


def _fingerprint(folder: Path) -> str:
    found = (folder / DATA).stat()
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n"
