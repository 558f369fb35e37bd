"""A snapshot of the projection as ``UsageAnswers``: each question in the file that knows how to ask it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from .projection import Projection
from .projection_completeness import completeness, window_lengths
from .projection_lists import Picked, records
from .projection_reader import Snapshot, snapshot
from .projection_usage import sum_usage
from .usage_query import Completeness, Scope, UsageQuery, UsageSums, WindowLength
from .usage_store import RecordPlace, StoredRecord


@dataclass(frozen=True, slots=True)
class ProjectionAnswers:
    snapshot: Snapshot

    @property
    def position(self) -> int:
        return self.snapshot.position

    def sum_usage(self, query: UsageQuery, sku_of: Callable[[str], str]) -> UsageSums:
        return sum_usage(self.snapshot, query, sku_of)

    def completeness(self, scope: Scope) -> Completeness:
        return completeness(self.snapshot, scope)

    def window_lengths(self, scope: Scope) -> list[WindowLength]:
        return window_lengths(self.snapshot, scope)

    def records(self, scope: Scope, after: RecordPlace, limit: int, host_id: str | None = None) -> list[StoredRecord]:
        return records(self.snapshot, scope, after, limit, Picked(host_id))


@contextmanager
def answers(projection: Projection) -> Generator[ProjectionAnswers]:
    """Raises LedgerBroken if the projection cannot be read."""
    with snapshot(projection) as seen:
        yield ProjectionAnswers(seen)
