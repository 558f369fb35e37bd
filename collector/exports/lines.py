"""Rows as CSV, a chunk at a time. The same rows are the same bytes: no clock, no locale, one line end."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

_ROWS: Final = 1_000
"""In a chunk."""


def csv_chunks(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """RFC 4180 but for the line end, which is a line feed: a header, then the rows."""
    left = chain([header], rows)
    while part := list(islice(left, _ROWS)):
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(part)
        yield out.getvalue().encode()
