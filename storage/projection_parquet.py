"""Usage records in force as a Parquet file, written by DuckDB itself."""

from pathlib import Path
from typing import Final

import duckdb

from .projection_reader import Snapshot
from .projection_schema import RECORD
from .projection_sql import in_force
from .usage_query import Scope

_OURS: Final = ("segment_no", "ordinal")
"""Where a record stands in its log entry: used for the order, of no use outside."""


def copy_records(snapshot: Snapshot, scope: Scope, path: Path) -> None:
    """Writes ``path``: a row for each record in force, columns as in ``record``, in the order of the log.

    Integers stay integers (ns and mJ as UINT64), texts texts. In row groups, so memory is bounded whatever the range.

    Raises OSError if the file cannot be written.
    """
    relation, parameters = in_force("record", scope)
    names = ", ".join(name for name, _ in RECORD if name not in _OURS)
    quoted = str(path).replace("'", "''")
    try:
        snapshot.db.execute(
            f"COPY (SELECT {names} FROM {relation} ORDER BY log_id, segment_no, ordinal)"
            f" TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)",
            parameters,
        )
    except duckdb.IOException as error:
        # Not the projection's disk but the one that the file is on; its text names the file and the reason.
        raise OSError(str(error)) from None
