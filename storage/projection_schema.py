"""The tables of the projection. Append-only but for a few small ones; no index, which would cost fifty-fold.

A record or row belongs to ``(log_id, segment_no)``: the log entry it came in and
the number of its segment there. What a higher revision replaced stays, and is
named in ``superseded``; the answer as of an older log id is thus still there.

What is said over and over is said once, in ``device`` and ``subject``, and named by
number. What follows from the rest is not stored: digests, usage keys, the end of an
interval. Times are kept as distances from what they are usually near, so that
they pack into a few bits (bench/bench_disk_projection.py shows what each column costs).
"""

from typing import Final

from .projection_decision_rows import decision_tables
from .projection_other_rows import OTHER_TABLES

VERSION: Final = 7
"""A projection of another version is thrown away and made again from the log."""

DEVICE: Final = (
    ("device_no", "INTEGER"),
    ("host_id", "VARCHAR"),
    ("boot_id", "VARCHAR"),
    ("device_id", "VARCHAR"),
    ("generation", "UINTEGER"),
    ("gpu_model", "VARCHAR"),
    ("window_length_ns", "BIGINT"),
    ("clock", "VARCHAR"),
    ("parent_id", "VARCHAR"),  # NULL: no MIG instance
    ("compute", "UINTEGER"),
    ("compute_of", "UINTEGER"),
    ("memory", "UINTEGER"),
    ("memory_of", "UINTEGER"),
    ("partition_compute", "UINTEGER"),  # NULL: not in MIG mode
    ("partition_memory", "UINTEGER"),
    ("base_ns", "BIGINT"),  # wall clock minus CLOCK_BOOTTIME at its first segment
)
"""A device as its segments describe it. The same may be there twice; numbers only join."""
SUBJECT: Final = (
    ("subject_no", "INTEGER"),
    ("workload_kind", "VARCHAR"),
    ("workload_id", "VARCHAR"),
    ("session_id", "VARCHAR"),
    ("tenant", "VARCHAR"),
    ("project", "VARCHAR"),
    ("rule", "VARCHAR"),
    ("reason", "VARCHAR"),
    ("tags", "VARCHAR[]"),
    ("claim", "VARCHAR"),
    ("sharing", "VARCHAR"),
    ("sharing_version", "UINTEGER"),
    ("outside_claim", "BOOLEAN"),
    ("rules_version", "VARCHAR"),
    ("evidence", "VARCHAR"),
    ("edges", "VARCHAR"),
)
"""Whose a record is and how that is known: everything in it that is no amount."""
_PLACE: Final = (
    ("log_id", "BIGINT"),
    ("segment_no", "INTEGER"),
    ("device_no", "INTEGER"),
    ("window_s", "BIGINT"),
    ("window_rest_ns", "INTEGER"),  # the window starts at window_s seconds and this
)
RECORD: Final = (
    *_PLACE,
    ("ordinal", "INTEGER"),
    ("subject_no", "INTEGER"),
    ("revision", "UINTEGER"),
    ("allocated_ns", "UBIGINT"),
    ("held_ns", "UBIGINT"),
    ("blind_ns", "UBIGINT"),
    ("inferred_ns", "UBIGINT"),
    ("busy_ns", "UBIGINT"),
    ("busy_known_ns", "UBIGINT"),
    ("gpu_memory_byte_ms", "UBIGINT"),
    ("energy_mj", "UBIGINT"),
    ("edge_uncertainty_ns", "UBIGINT"),
)
DEVICE_ROW: Final = (
    *_PLACE,
    ("wall_offset_ns", "BIGINT"),  # from the window's start to the segment's, by the wall clock
    ("boot_offset_ns", "BIGINT"),  # what CLOCK_BOOTTIME is off from the wall clock less base_ns
    ("length_ns", "UBIGINT"),
    ("revision", "UINTEGER"),
    ("idle_ns", "UBIGINT"),
    ("unobserved_ns", "UBIGINT"),
    ("record_count", "UINTEGER"),
    ("energy_start_mj", "UBIGINT"),
    ("energy_gain_mj", "HUGEINT"),  # the counter's end less its start, or less 0 if that is not known
    ("idle_energy_mj", "UBIGINT"),
    ("unobserved_energy_mj", "UBIGINT"),
    ("energy_source", "VARCHAR"),
    ("interval_ns", "UBIGINT"),
    ("stranded_compute_ns", "UBIGINT"),
    ("stranded_memory_ns", "UBIGINT"),
)
UNOBSERVED: Final = (
    ("log_id", "BIGINT"),
    ("segment_no", "INTEGER"),
    ("ordinal", "INTEGER"),
    ("reason", "VARCHAR"),
    ("length_ns", "UBIGINT"),
)
"""Why the time was unobserved, of the few segments that have any: lists in every row would double its cost."""
CORRECTION: Final = (
    ("log_id", "BIGINT"),
    ("segment_no", "INTEGER"),
    ("ordinal", "INTEGER"),
    ("since_log_id", "BIGINT"),
    ("decided_ns", "BIGINT"),
    ("kind", "VARCHAR"),
    ("tenant", "VARCHAR"),
    ("project", "VARCHAR"),
)
"""What an overlay says of the record at a place: from the decision on, or from the revision that took it over."""
LATE: Final = (
    ("log_id", "BIGINT"),
    ("segment_no", "INTEGER"),
    ("old_log_id", "BIGINT"),  # the segment that it follows on; NULL: the first that is known of its time
    ("old_segment_no", "INTEGER"),
    ("booked_ns", "BIGINT"),
)
"""Segments of sealed periods that came after the seal."""
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
    ("late", "BIGINT"),
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

ROLLUP_KEYS: Final = (
    ("host_id", "VARCHAR"),
    ("gpu_model", "VARCHAR"),
    ("compute", "UINTEGER"),
    ("compute_of", "UINTEGER"),
    ("memory", "UINTEGER"),
    ("memory_of", "UINTEGER"),
    ("tenant", "VARCHAR"),  # NULL: sums of device rows, which have no tenant
    ("project", "VARCHAR"),
    ("window_length_ns", "BIGINT"),  # of device rows
    ("aligned", "BOOLEAN"),  # of device rows: their windows start at multiples of their length
)
RECORD_SUMS: Final = (
    "allocated_ns",
    "held_ns",
    "blind_ns",
    "inferred_ns",
    "busy_ns",
    "busy_known_ns",
    "gpu_memory_byte_ms",
    "energy_mj",
)
ROW_SUMS: Final = ("length_ns", "idle_ns", "unobserved_ns")
ROLLUP: Final = (
    ("bucket_s", "BIGINT"),
    *ROLLUP_KEYS,
    ("entries", "HUGEINT"),  # how many records, or device rows
    *((name, "HUGEINT") for name in (*RECORD_SUMS, *ROW_SUMS)),
)
"""One table for each level (projection_buckets.Level): sums of what is in force in each bucket of UTC."""
DIRTY: Final = (("level", "UTINYINT"), ("bucket_s", "BIGINT"))
"""Buckets whose rollup does not tell the truth, or not yet: to be answered from something finer."""

TABLES: Final = {
    "device": DEVICE,
    "subject": SUBJECT,
    "record": RECORD,
    "device_row": DEVICE_ROW,
    "unobserved": UNOBSERVED,
    "correction": CORRECTION,
    "late": LATE,
    "superseded": SUPERSEDED,
    "quarantine": QUARANTINE,
    "lost": LOST,
    "watermark": WATERMARK,
    "host": HOST,
    "coverage": COVERAGE,
    "rollup_quarter": ROLLUP,
    "rollup_hour": ROLLUP,
    "rollup_day": ROLLUP,
    "rollup_month": ROLLUP,
    "dirty": DIRTY,
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
