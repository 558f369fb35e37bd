"""A ledger and its projection in this process: entries in, answers out."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gputally.collector.conservation_answer import ConservationRequest, answer_conservation
from gputally.collector.examine import examine
from gputally.collector.projector import Projector
from gputally.collector.query import read_request
from gputally.collector.usage_answer import Asked, answer_usage
from gputally.model.interval import Interval
from gputally.model.usage import Batch
from gputally.simulator.stream import chain
from gputally.storage.frame import Frame
from gputally.storage.ledger import Ledger
from gputally.storage.ledger_rules import StreamId
from gputally.storage.projection import Projection
from gputally.storage.projection_lists import hosts, quarantine, records
from gputally.storage.projection_reader import snapshot
from gputally.storage.usage_query import Scope
from gputally.storage.usage_store import HostState, StoredRecord

NOW_NS = 1_900_000_000 * 10**9
ALL = Interval(0, 2**61)
JUNE = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-07-01T00:00:00Z"}


class Folded:
    """Close it, or use ``with``."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder)
        self.projection = Projection(folder, self.ledger.ledger_id, 2**60)
        self.projector = Projector(self.projection, folder, on_death=lambda: None)

    def __enter__(self) -> "Folded":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.projector.stop()
        self.projection.close()
        self.ledger.close()

    def take(self, host_id: str, batches: Iterable[Batch], epoch: bytes = b"e" * 16, now_ns: int = NOW_NS) -> None:
        """A whole log of a host, committed and folded."""
        self.take_frames(host_id, chain(host_id, epoch, batches), epoch, now_ns)

    def take_frames(self, host_id: str, frames: Iterable[Frame], epoch: bytes, now_ns: int = NOW_NS) -> None:
        stream = StreamId(host_id, epoch)
        self.ledger.commit([examine(frame.to_bytes(), stream, frame.seq) for frame in frames], now_ns)
        self.fold()

    def fold(self) -> None:
        while self.projector.fold_some():
            pass

    def refresh(self) -> int:
        """Makes all rollups that can be made; how many."""
        counts: list[int] = []
        while not counts or counts[-1]:
            counts.append(self.projector.refresh())
        return sum(counts)

    def usage(self, **asked: str) -> dict[str, Any]:
        told = {**JUNE, **asked}
        with snapshot(self.projection) as seen:
            return answer_usage(Asked(read_request(told), "/v1/usage", told), seen, ())

    def conservation(self, span: Interval = ALL) -> dict[str, Any]:
        with snapshot(self.projection) as seen:
            return answer_conservation(ConservationRequest(span, None, 0, 1000), seen)

    def host(self, host_id: str) -> HostState:
        with snapshot(self.projection) as seen:
            return next(host for host in hosts(seen, 0, 1000)[0] if host.host_id == host_id)

    def records(self) -> list[StoredRecord]:
        with snapshot(self.projection) as seen:
            return records(seen, Scope(ALL, seen.position), (0, 0, 0), 10_000)

    def put_aside(self) -> list[str]:
        with snapshot(self.projection) as seen:
            return [str(row["what"]) for row in quarantine(seen, 0, 1000)[0]]
