"""Reading the projection: a snapshot for each question, so that its parts fit together while data arrive."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from .ledger_folder import LedgerBroken
from .projection import Projection
from .projection_buckets import Bucket, Level
from .projection_sql import Connection


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The projection as it was at one moment. For one thread, inside ``snapshot``."""

    db: Connection
    position: int
    """The log id through which it is folded: the newest ``as_of`` there is."""
    dirty: frozenset[Bucket]
    """Buckets that have no rollup to rely on."""


@contextmanager
def snapshot(projection: Projection) -> Generator[Snapshot]:
    """Raises LedgerBroken if the projection cannot be read."""
    try:
        db = projection.reader()
        try:
            db.begin()
            found = db.execute("SELECT log_id FROM position").fetchall()
            dirty = db.execute("SELECT level, bucket_s FROM dirty").fetchall()
            yield Snapshot(db, int(found[0][0]), frozenset(Bucket(Level(level), start_s) for level, start_s in dirty))
            db.rollback()
        finally:
            db.close()
    except duckdb.ProgrammingError:
        raise  # a defect of ours, not the projection's
    except duckdb.Error as error:
        raise LedgerBroken(f"the projection cannot be read: {error}") from error
