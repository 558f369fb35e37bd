"""Sorting more byte strings than fit in memory: sorted runs in a file that nobody sees, then one merge."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Final

RUN: Final = 100_000
"""Strings that are held in memory at once: of leaves some 15 MB."""
_BUFFER_BYTES: Final = 64 * 1024
_LENGTH_BYTES: Final = 4


class NoRoom(OSError):
    """The temporary folder cannot take the runs; the message says why, in words for whoever asked."""


def sorted_bytes(values: Iterable[bytes], run: int = RUN) -> Iterator[bytes]:
    """All values in order of their bytes. Each must be shorter than 4 GiB. Raises NoRoom if the disk does not do."""
    try:
        yield from _sorted(values, run)
    except OSError as error:
        raise NoRoom(f"the temporary folder cannot be used to sort: {error.strerror or error}") from error


def _sorted(values: Iterable[bytes], run: int) -> Iterator[bytes]:
    rest = iter(values)
    first = sorted(islice(rest, run))
    if len(first) < run:
        yield from first
        return
    with TemporaryFile(buffering=_BUFFER_BYTES) as file:
        spans = [_write(file, first)]
        while part := sorted(islice(rest, run)):
            spans.append(_write(file, part))
        file.flush()
        yield from heapq.merge(*(_read(file, *span) for span in spans))


def _write(file: IO[bytes], values: list[bytes]) -> tuple[int, int]:
    """(where the run begins, where it ends)."""
    start = file.tell()
    for value in values:
        file.write(len(value).to_bytes(_LENGTH_BYTES, "big") + value)
    return start, file.tell()


def _read(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """A run, in pieces: the others read the same file between two of them."""
    rest = b""
    while start < end:
        file.seek(start)
        piece = rest + file.read(min(_BUFFER_BYTES, end - start))
        start += len(piece) - len(rest)
        at = 0
        while (behind := _behind(piece, at)) is not None:
            yield piece[at + _LENGTH_BYTES : behind]
            at = behind
        rest = piece[at:]


def _behind(piece: bytes, at: int) -> int | None:
    """Where the value that begins at ``at`` ends; None: not in this piece."""
    if len(piece) - at < _LENGTH_BYTES:
        return None
    end = at + _LENGTH_BYTES + int.from_bytes(piece[at : at + _LENGTH_BYTES], "big")
    return end if end <= len(piece) else None
