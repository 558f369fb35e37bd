"""Rows as CSV, a chunk at a time. The same rows are the same bytes: no clock, no locale, one line end."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

_ROWS: Final = 1_000
"""In a chunk."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_chunks(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """RFC 4180 but for the line end, which is a line feed: a header, then the rows."""
    left = chain([header], rows)
    while part := list(islice(left, _ROWS)):
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(part)
        yield out.getvalue().encode()


def defused(name: str) -> str:
    """A name as a cell: what a spreadsheet would take for a formula gets an apostrophe before it.

    For names that tenants may write, such as a project's; never for amounts.
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{name}" if name.startswith(_FORMULA) else name
