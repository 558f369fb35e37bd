"""What a log was before it was begun anew is kept aside, as long as there is room for it."""

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Final

from .wal_files import CREATING, DATA, free_bytes, no_space, reserve, sync_file, sync_folder

log = logging.getLogger(__name__)

QUARANTINE: Final = "quarantine"
_KEPT: Final = 2


def make_room(folder: Path, needed_bytes: int, wanted_bytes: int = 0) -> None:
    """Kept logs give way, the oldest first, as long as the disk has less than what is needed, and wanted, free.

    Raises LogUnusable, with the bytes needed and free, if what is needed is not there then.
    """
    while free_bytes(folder) < max(needed_bytes, wanted_bytes) and _oldest(folder) is not None:
        left = len(_kept(folder)) - 1
        _prune(folder, left)
        if len(_kept(folder)) > left:
            break
    if free_bytes(folder) < needed_bytes:
        raise no_space(folder, needed_bytes, free_bytes(folder))


def replace_log(folder: Path, reason: str, cap_bytes: int) -> Path | None:
    """Puts the file in ``creating`` in the place of the log's, which goes to quarantine. Where that is; None: gone.

    A crash at any point leaves a log in its place, the old one or the new one. Raises LogUnusable without room.
    """
    new = folder / CREATING / DATA
    _prune(folder, _KEPT - 1)
    make_room(folder, 0, _lacking_bytes(new, cap_bytes))
    kept = None if _lacking_bytes(new, cap_bytes) > free_bytes(folder) else _keep(folder, reason)
    if kept is not None:
        reserve(folder, new, cap_bytes)
    else:
        log.error("%s: the old file cannot be kept beside the new one: what does not go on is gone with it", folder)
        sync_file(new)
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


def _lacking_bytes(new: Path, cap_bytes: int) -> int:
    return max(cap_bytes - new.stat().st_blocks * 512, 0)
