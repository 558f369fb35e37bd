"""Usage records as Parquet, for whoever keeps a copy in a lake or asks questions of his own."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ...storage.projection_parquet import copy_records
from ...storage.projection_reader import Snapshot
from ..rated_answer import read_rateable

PARAMETERS: Final = ("range_from", "range_to", "strict", "as_of")
_CHUNK_BYTES: Final = 256 * 1024


def records_parquet(told: Mapping[str, str], snapshot: Snapshot, tenant: str | None) -> Iterator[bytes]:
    """Every record in force in the range, as of a log id. Raises BadParameter, Problem (409)."""
    scope = read_rateable(told, snapshot, tenant).scope
    with tempfile.TemporaryDirectory(prefix="gputally-export-") as folder:
        path = Path(folder) / "records.parquet"
        copy_records(snapshot, scope, path)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
