"""What trace.c has noted, read back."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct("=B3xIIIQQ")
"""struct head in trace.c."""
_NUMBERS: Final = struct.Struct("=3Q")


@dataclass(frozen=True, slots=True)
class Event:
    """One change, flush or mark. ``kind`` is a letter of trace.c; names are relative to the traced folder."""

    kind: str
    inode: int
    offset: int
    """Of a write; the new size for ``s``."""
    name: str
    data: bytes
    to: str = ""
    """The new name for ``r``."""

    @property
    def numbers(self) -> tuple[int, int, int]:
        """What a mark says."""
        return _NUMBERS.unpack(self.data)


def read_trace(trace: Path, folder: Path) -> list[Event]:
    return list(_events(trace.read_bytes(), f"{folder}/"))


def _events(raw: bytes, folder: str) -> Iterator[Event]:
    at = 0
    while at < len(raw):
        kind, path_bytes, data_bytes, _, inode, offset = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        path = raw[at : at + path_bytes].decode()
        data = raw[at + path_bytes : at + path_bytes + data_bytes]
        at += path_bytes + data_bytes
        to = data.decode().removeprefix(folder) if chr(kind) == "r" else ""
        yield Event(chr(kind), inode, offset, path.removeprefix(folder), data, to)
