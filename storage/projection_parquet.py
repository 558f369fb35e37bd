"""Usage records in force as a Parquet file, written by DuckDB itself."""

from pathlib import Path
from typing import Final

import duckdb

from ..model.usage import Slices
from .projection_reader import Snapshot
from .projection_sql import in_force, with_segment
from .usage_query import Scope

_COLUMNS: Final = (
    *("log_id", "host_id", "boot_id", "device_id", "generation", "gpu_model", "boot_start_ns", "length_ns"),
    *("wall_start_ns", "window_start_ns", "window_length_ns", "clock", *Slices._fields),
    *("workload_kind", "workload_id", "session_id", "revision", "tenant", "project", "rule", "reason", "tags"),
    *("allocated_ns", "held_ns", "blind_ns", "inferred_ns", "busy_ns", "busy_known_ns", "gpu_memory_byte_ms"),
    *("energy_mj", "claim", "sharing", "sharing_version", "outside_claim", "edge_uncertainty_ns", "edges"),
    *("rules_version", "evidence"),
)


def copy_records(snapshot: Snapshot, scope: Scope, path: Path) -> None:
    """Writes ``path``: a row for each record in force, in the order of the log.

    Integers stay integers (ns and mJ as UINT64), texts texts. In row groups, so memory is bounded whatever the range.

    Raises OSError if the file cannot be written.
    """
    relation, parameters = in_force("record", scope)
    names = ", ".join(_COLUMNS)
    quoted = str(path).replace("'", "''")
    try:
        snapshot.db.execute(
            f"COPY (SELECT {names} FROM {with_segment(relation)} ORDER BY log_id, segment_no, ordinal)"
            f" TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)",
            parameters,
        )
    except duckdb.IOException as error:
        # Not the projection's disk but the one that the file is on; its text names the file and the reason.
        raise OSError(str(error)) from None
