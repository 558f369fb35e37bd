"""What a log was before it was begun anew is kept aside, as long as there is room for it."""

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Final

from .wal_files import CREATING, DATA, free_bytes, reserve, sync_folder

log = logging.getLogger(__name__)

QUARANTINE: Final = "quarantine"
_KEPT: Final = 2


def replace_log(folder: Path, reason: str, cap_bytes: int) -> Path | None:
    """Puts the file in ``creating`` in the place of the log's, which goes to quarantine. Where that is; None: gone.

    A crash at any point leaves a log in its place, the old one or the new one. Raises LogUnusable without room.
    """
    new = folder / CREATING / DATA
    _prune(folder, _KEPT - 1)
    while _lacks_room(new, cap_bytes) and _oldest(folder) is not None:
        _prune(folder, len(_kept(folder)) - 1)
    kept = None if _lacks_room(new, cap_bytes) else _keep(folder, reason)
    if kept is not None:
        reserve(folder, new, cap_bytes)
    else:
        log.error("%s: the damaged file cannot be kept beside the new one: what is not salvaged goes with it", folder)
    new.rename(folder / DATA)
    sync_folder(folder)
    if kept is None:
        reserve(folder, folder / DATA, cap_bytes)
    return kept


def _keep(folder: Path, reason: str) -> Path | None:
    """A second name for the file: so it is never without one."""
    place = folder / QUARANTINE / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{time.time_ns()}-{reason}"
    try:
        place.mkdir(parents=True, mode=0o750)
        os.link(folder / DATA, place / DATA)
        sync_folder(place)
    except OSError as error:
        log.error("%s: the old log cannot be put into quarantine: %s", folder, error.strerror)
        shutil.rmtree(place, ignore_errors=True)
        return None
    return place


def _kept(folder: Path) -> list[Path]:
    """The oldest first."""
    place = folder / QUARANTINE
    return sorted(place.iterdir()) if place.is_dir() else []


def _oldest(folder: Path) -> Path | None:
    return next(iter(_kept(folder)), None)


def _prune(folder: Path, most: int) -> None:
    kept = _kept(folder)
    for place in kept[: max(len(kept) - most, 0)]:
        log.warning("%s gives way", place)
        shutil.rmtree(place, ignore_errors=True)
        if place.exists():
            break


def _lacks_room(new: Path, cap_bytes: int) -> bool:
    return cap_bytes - new.stat().st_blocks * 512 > free_bytes(new.parent)
