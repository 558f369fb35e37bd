"""The tables of the projection. Append-only but for three small ones; no index, which would cost fifty-fold.

A record or row belongs to ``(log_id, segment_no)``: the log entry it came in and
the number of its segment there. What a higher revision replaced stays, and is
named in ``superseded``; the answer as of an older log id is thus still there.
"""

from typing import Final

from .projection_decision_rows import decision_tables
from .projection_other_rows import OTHER_TABLES

VERSION: Final = 4
"""A projection of another version is thrown away and made again from the log."""

_SEGMENT: Final = (
    ("log_id", "BIGINT"),
    ("segment_no", "INTEGER"),
    ("host_id", "VARCHAR"),
    ("boot_id", "VARCHAR"),
    ("device_id", "VARCHAR"),
    ("generation", "UINTEGER"),
    ("gpu_model", "VARCHAR"),
    ("boot_start_ns", "BIGINT"),
    ("length_ns", "UBIGINT"),
    ("wall_start_ns", "BIGINT"),
    ("window_start_ns", "BIGINT"),
    ("window_length_ns", "BIGINT"),
    ("clock", "VARCHAR"),
    ("parent_id", "VARCHAR"),  # NULL: no MIG instance
    ("compute", "UINTEGER"),
    ("compute_of", "UINTEGER"),
    ("memory", "UINTEGER"),
    ("memory_of", "UINTEGER"),
    ("partition_compute", "UINTEGER"),  # NULL: not in MIG mode
    ("partition_memory", "UINTEGER"),
)
RECORD: Final = (
    *_SEGMENT,
    ("ordinal", "INTEGER"),
    ("usage_key", "BLOB"),
    ("workload_kind", "VARCHAR"),
    ("workload_id", "VARCHAR"),
    ("session_id", "VARCHAR"),
    ("revision", "UINTEGER"),
    ("tenant", "VARCHAR"),
    ("project", "VARCHAR"),
    ("rule", "VARCHAR"),
    ("reason", "VARCHAR"),
    ("tags", "VARCHAR[]"),
    ("allocated_ns", "UBIGINT"),
    ("held_ns", "UBIGINT"),
    ("blind_ns", "UBIGINT"),
    ("inferred_ns", "UBIGINT"),
    ("busy_ns", "UBIGINT"),
    ("busy_known_ns", "UBIGINT"),
    ("gpu_memory_byte_ms", "UBIGINT"),
    ("energy_mj", "UBIGINT"),
    ("claim", "VARCHAR"),
    ("sharing", "VARCHAR"),
    ("outside_claim", "BOOLEAN"),
    ("edge_uncertainty_ns", "UBIGINT"),
    ("rules_version", "VARCHAR"),
    ("evidence", "VARCHAR"),
    ("sharing_version", "UINTEGER"),
    ("edges", "VARCHAR"),
)
DEVICE_ROW: Final = (
    *_SEGMENT,
    ("revision", "UINTEGER"),
    ("digest", "BLOB"),
    ("idle_ns", "UBIGINT"),
    ("unobserved_ns", "UBIGINT"),
    ("unobserved_reasons", "VARCHAR[]"),
    ("unobserved_lengths_ns", "UBIGINT[]"),
    ("record_count", "UINTEGER"),
    ("records_digest", "BLOB"),
    ("energy_start_mj", "UBIGINT"),
    ("energy_end_mj", "UBIGINT"),
    ("idle_energy_mj", "UBIGINT"),
    ("unobserved_energy_mj", "UBIGINT"),
    ("energy_source", "VARCHAR"),
    ("interval_ns", "UBIGINT"),
    ("stranded_compute_ns", "UBIGINT"),
    ("stranded_memory_ns", "UBIGINT"),
)
SUPERSEDED: Final = (("log_id", "BIGINT"), ("segment_no", "INTEGER"), ("by_log_id", "BIGINT"))
QUARANTINE: Final = (
    ("log_id", "BIGINT"),
    ("host_id", "VARCHAR"),
    ("device_id", "VARCHAR"),
    ("from_ns", "BIGINT"),
    ("to_ns", "BIGINT"),  # NULL: not known yet, until the host's next watermark
    ("records", "UINTEGER"),
    ("allocated_ns", "HUGEINT"),
    ("what", "VARCHAR"),
)
LOST: Final = (
    ("log_id", "BIGINT"),  # of the entry that says so
    ("host_id", "VARCHAR"),
    ("epoch", "BLOB"),
    ("first_seq", "UBIGINT"),
    ("last_seq", "UBIGINT"),
)
"""Frames of ended epochs that never came and will not."""
WATERMARK: Final = (
    ("log_id", "BIGINT"),
    ("host_id", "VARCHAR"),
    ("complete_through_ns", "BIGINT"),
    ("received_ns", "BIGINT"),
)
HOST: Final = (
    ("host_id", "VARCHAR"),
    ("first_log_id", "BIGINT"),
    ("last_log_id", "BIGINT"),
    ("last_received_ns", "BIGINT"),
    ("first_window_ns", "BIGINT"),  # NULL: no window of it yet
    ("watermark_ns", "BIGINT"),  # NULL: it never said one
    ("frames", "BIGINT"),
    ("records", "BIGINT"),
    ("duplicates", "BIGINT"),
    ("superseded", "BIGINT"),
    ("stale", "BIGINT"),
    ("quarantined", "BIGINT"),
    ("rejected_frames", "BIGINT"),
    ("forks", "BIGINT"),
)
COVERAGE: Final = (
    ("host_id", "VARCHAR"),
    ("boot_id", "VARCHAR"),
    ("device_id", "VARCHAR"),
    ("generation", "UINTEGER"),
    ("start_ns", "BIGINT"),
    ("end_ns", "BIGINT"),
)
POSITION: Final = (("version", "INTEGER"), ("ledger_id", "VARCHAR"), ("log_id", "BIGINT"))

TABLES: Final = {
    "record": RECORD,
    "device_row": DEVICE_ROW,
    "superseded": SUPERSEDED,
    "quarantine": QUARANTINE,
    "lost": LOST,
    "watermark": WATERMARK,
    "host": HOST,
    "coverage": COVERAGE,
    "position": POSITION,
    **OTHER_TABLES,
    **decision_tables(),
}


def create_statements() -> list[str]:
    """One CREATE TABLE for each table."""
    return [
        f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in columns)})"
        for table, columns in TABLES.items()
    ]
