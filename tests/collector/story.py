"""A ledger to which things happen: the host revises, operators correct and decide."""

from dataclasses import dataclass, field

from gputally.collector.deciding import own_stream
from gputally.model.decisions import Corrected, Decided, Decision, Overlay, OverlayKind
from gputally.proto.convert_decision import encode_decided
from gputally.storage.frame import genesis_hash, make_frame
from gputally.storage.projection_deltas import Delta, deltas
from gputally.storage.projection_lists import records
from gputally.storage.projection_reader import snapshot
from gputally.storage.usage_query import Scope
from gputally.storage.usage_store import StoredRecord

from .folded import ALL, NOW_NS, Folded
from .test_folding import batch, group, segment


@dataclass(slots=True)
class Story:
    """After each step ``log_ids`` has one more log id."""

    folded: Folded
    revision: int = 0
    decided: int = 0
    head: bytes = b""
    log_ids: list[int] = field(default_factory=list[int])

    def revise(self, minute: int, shares: dict[str, int]) -> None:
        """The host says a segment anew."""
        self.revision += 1
        told = batch(group(segment(minute), shares, self.revision))
        self.folded.take("gpu-01", [told], epoch=self.revision.to_bytes(16, "big"))
        self._note()

    def correct(self, kind: OverlayKind, minute: int, org: str, tenant: str = "") -> None:
        """An operator lays something on a record that was there once."""
        where = segment(minute)
        overlay = Overlay(
            b"k" * 16, "gpu-01", "boot-1", where.device_id, 0, where.boot.start_ns, "docker", org, "",
            where.window_start_ns, 0, b"d" * 16, kind, tenant,
        )  # fmt: skip
        self.decide(Corrected((overlay,)))

    def decide(self, what: Decision) -> None:
        """One more frame of the ledger's own stream."""
        stream = own_stream(self.folded.ledger.ledger_id)
        self.decided += 1
        payload = encode_decided(Decided("ops", NOW_NS + self.decided, "test", what))
        frame = make_frame(
            stream.epoch, self.decided, self.head or genesis_hash(stream.host_id, stream.epoch), 0, payload
        )
        self.folded.take_frames(stream.host_id, [frame], stream.epoch)
        self.head = frame.hash
        self._note()

    def _note(self) -> None:
        with snapshot(self.folded.projection) as seen:
            self.log_ids.append(seen.position)

    def in_force(self, as_of: int) -> list[StoredRecord]:
        with snapshot(self.folded.projection) as seen:
            return records(seen, Scope(ALL, as_of), (0, 0, 0), 1_000)

    def changes(self, as_of: int, since: int = 0, tenant: str | None = None, lasting: bool = False) -> list[Delta]:
        with snapshot(self.folded.projection) as seen:
            return list(deltas(seen, Scope(ALL, as_of, tenant), since, lasting=lasting))
