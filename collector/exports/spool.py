"""An export on its way: written to a file without a name first, then sent.

A caller who reads slowly must hold neither a snapshot nor one of the few threads that answer questions, and an error
in the middle must be a problem with a status, not a file that breaks off.
"""

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Final

from ..problems import Problem

LARGEST_BYTES: Final = 4 * 1024**3
_CHUNK_BYTES: Final = 256 * 1024
_IN_MEMORY_BYTES: Final = 1024 * 1024


class Spool:
    """Bytes that were all written before the first is read. The file goes with its last reader."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    def of(cls, chunks: Iterable[bytes]) -> "Spool":
        """Raises Problem (400) beyond LARGEST_BYTES, and (507) where the disk is full."""
        file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - it lives on
        try:
            _write(file, chunks)
        except BaseException as error:
            file.close()
            if isinstance(error, OSError):
                raise Problem(507, "no-room", f"the export cannot be written: {error.strerror or error}") from None
            raise
        return cls(file)

    def chunks(self) -> Iterator[bytes]:
        """Once; closes the file."""
        with self._file as file:
            file.seek(0)
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def _write(file: IO[bytes], chunks: Iterable[bytes]) -> None:
    written = 0
    for chunk in chunks:
        written += len(chunk)
        if written > LARGEST_BYTES:
            raise Problem(400, "too-large", f"the export has more than {LARGEST_BYTES} bytes: ask for a shorter range")
        file.write(chunk)
