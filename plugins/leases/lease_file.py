"""The file itself: whether it may be believed, whether it has changed, and what it says."""

import os
import stat
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from ...model.settings import BadSettings, Problem
from ..toml_file import parse_toml
from .lease import Lease
from .lease_reading import read_leases

LONGEST_BYTES: Final = 1024 * 1024
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Stamp(NamedTuple):
    """Changes when the file does, or who may write it."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    folder_mode: int


@dataclass(frozen=True, slots=True)
class LeaseBook:
    """A file that was read whole and found good. ``version``: 16 hex digits that change with its content."""

    version: str
    leases: tuple[Lease, ...]
    stamp: Stamp | None


def look_at(path: Path) -> Stamp | None:
    """What the file looks like from outside; None if it cannot be looked at. Never raises."""
    try:
        return _stamp(path.stat(), path)
    except (OSError, ValueError):
        return None


def load_leases(path: Path) -> LeaseBook:
    """The leases of the file. Raises BadSettings with every problem, if the file may not be believed or is not good."""
    raw, stamp = _read(path)
    leases = read_leases(parse_toml(raw, str(path)), str(path))
    return LeaseBook(blake2b(raw, digest_size=8).hexdigest(), leases, stamp)


def _stamp(status: os.stat_result, path: Path) -> Stamp:
    return Stamp(
        status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, folder_mode=path.parent.stat().st_mode
    )


def _read(path: Path) -> tuple[bytes, Stamp]:
    try:
        file = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise _refused(
            path, "there is no such file: create it, empty if there are no leases, or unset leases.file"
        ) from None
    except (OSError, ValueError) as error:
        raise _refused(path, f"cannot be read: {_words(error)}") from None
    try:
        status = os.fstat(file)
        _check_trust(path, status)
        return _read_bounded(path, file, status.st_size), _stamp(status, path)
    except OSError as error:
        raise _refused(path, f"cannot be read: {_words(error)}") from None
    finally:
        os.close(file)


def _read_bounded(path: Path, file: int, size: int) -> bytes:
    raw = b"" if size > LONGEST_BYTES else os.read(file, LONGEST_BYTES + 1)
    if max(size, len(raw)) > LONGEST_BYTES:
        raise _refused(path, f"is longer than {LONGEST_BYTES} bytes: that is no list of leases")
    return raw


def _check_trust(path: Path, status: os.stat_result) -> None:
    """What a tenant could write must not decide who pays. Raises BadSettings."""
    if not stat.S_ISREG(status.st_mode):
        raise _refused(path, "is no regular file: give the path of the lease file")
    folder = path.resolve().parent
    mode = folder.stat().st_mode
    problems = [
        (status.st_uid not in (0, os.geteuid()), f"belongs to uid {status.st_uid}, must be root's: chown root {path}"),
        (status.st_mode & _OTHERS_MAY_WRITE, f"may be written by others than its owner: chmod go-w {path}"),
        (
            mode & _OTHERS_MAY_WRITE and not mode & stat.S_ISVTX,
            f"lies in {folder}, where others than its owner may replace it: chmod go-w {folder}",
        ),
    ]
    found = [Problem(str(path), "", what) for is_so, what in problems if is_so]
    if found:
        raise BadSettings(found)


def _words(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _refused(path: Path, what: str) -> BadSettings:
    return BadSettings([Problem(str(path), "", what)])
