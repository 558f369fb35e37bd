"""Frames outside a log: one behind the other in a file, as they were sealed. Each header tells how long it is."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from .frame import HEADER_BYTES, MAX_PAYLOAD_BYTES, DamagedFrame, Frame, read_frame
from .wal_errors import NotALog
from .wal_files import DATA
from .wal_salvage import Salvage, salvage

FRAMES: Final = "frames"
CHECKPOINT: Final = "checkpoint"
_STORED_LENGTH_AT: Final = 64


def frames_at(path: Path, lost: list[str] | None = None) -> Iterator[Frame]:
    """Those of a log's folder or of a folder or file that ``save`` wrote, damaged or not, in order.

    ``lost`` is told which frames of a log should be there and are not, in words. Raises NotALog
    where there is nothing of this kind, or behind the last frame that can be read of a file.
    """
    try:
        if (path / DATA).exists():
            yield from _of_log(path / DATA, [] if lost is None else lost)
        else:
            yield from _of_file(path / FRAMES if path.is_dir() else path)
    except OSError as error:
        raise NotALog(f"{path} cannot be read: {error.strerror}") from None


def open_salvage(path: Path) -> Salvage:
    """Of the log's folder at ``path``. Raises NotALog. Close it when done."""
    try:
        return salvage(path / DATA)
    except OSError as error:
        raise NotALog(f"{path / DATA} cannot be read: {error.strerror}") from None


def save(salvaged: Salvage, folder: Path) -> int:
    """How many frames were written. Raises OSError, FileExistsError too: nothing is written over."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    held = list(salvaged.held())
    _write(folder / FRAMES, (salvaged.read(found) for found in held))
    if salvaged.checkpoint is not None:
        _write(folder / CHECKPOINT, (salvaged.checkpoint,))
    return len(held)


def _write(file: Path, parts: Iterable[bytes]) -> None:
    with file.open("xb") as out:
        for part in parts:
            out.write(part)
        out.flush()
        os.fsync(out.fileno())


def words_of_loss(salvaged: Salvage) -> list[str]:
    """Which frames should be there and are not; empty: none."""
    told = [f"{first} to {last}" for first, last in salvaged.lost()]
    if not salvaged.knows_head:
        told.append("perhaps frames behind the newest: the newest commit's own word is lost")
    return told


def _of_log(file: Path, lost: list[str]) -> Iterator[Frame]:
    salvaged = salvage(file)
    try:
        for found in salvaged.held():
            yield read_frame(salvaged.read(found))
        lost += words_of_loss(salvaged)
    finally:
        salvaged.close()


def _of_file(file: Path) -> Iterator[Frame]:
    place = 0
    with file.open("rb") as frames:
        while header := frames.read(HEADER_BYTES):
            stored_bytes = int.from_bytes(header[_STORED_LENGTH_AT:])
            if stored_bytes > 2 * MAX_PAYLOAD_BYTES:
                raise NotALog(f"{file}: no frame at byte {place}")
            raw = header + frames.read(stored_bytes)
            try:
                yield read_frame(raw)
            except DamagedFrame as error:
                raise NotALog(f"{file}: no frame at byte {place}: {error}") from None
            place += len(raw)
