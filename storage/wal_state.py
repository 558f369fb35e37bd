"""The small state of a log: one record, written in the same transaction as the frames it speaks of."""

from dataclasses import dataclass, replace
from typing import Any, Final

from .checkpoint import DamagedCheckpoint, decode, decode_first, encode
from .frame import genesis_hash

_MARKS: Final = ("head", "acked", "trimmed")
LAYOUT: Final = 1
"""Of the tables and of this record: docs/formats.md."""


class OtherLayout(DamagedCheckpoint):
    """Whole, and of another version of gputally."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the chain: a frame's seq, its hash, and the usage records up to and with it."""

    seq: int
    hash: bytes
    records: int


@dataclass(frozen=True, slots=True)
class Place:
    """What a log knows of a frame that somebody else has, and the place from which it can say what comes next.

    ``hash`` None: it holds none there. ``goes_on_seq`` is that of the frame itself, if it is held; before
    it, if the frame is in a Skip that ends behind it; behind it, if what follows was trimmed.
    """

    hash: bytes | None
    goes_on_seq: int


@dataclass(frozen=True, slots=True)
class LogState:
    """trimmed <= acked <= head, always."""

    host_id: str
    epoch: bytes
    head: Mark
    acked: Mark
    trimmed: Mark
    rejected_seq: int = 0
    """The newest frame that the collector has refused."""
    rejected_frames: int = 0

    @property
    def first_seq(self) -> int:
        """The oldest frame still held; 0: none."""
        return 0 if self.trimmed.seq == self.head.seq else self.trimmed.seq + 1

    def with_head(self, head: Mark) -> "LogState":
        return replace(self, head=head)

    def with_acked(self, acked: Mark) -> "LogState":
        return replace(self, acked=acked)

    def with_trimmed(self, trimmed: Mark) -> "LogState":
        return replace(self, trimmed=trimmed)

    def with_rejected(self, seq: int) -> "LogState":
        return replace(self, rejected_seq=seq, rejected_frames=self.rejected_frames + 1)


@dataclass(frozen=True, slots=True)
class LogStat:
    """How a log stands. ``bytes`` are those of pages in use, ``cap_bytes`` is the size of its file."""

    epoch: bytes
    first_seq: int
    """The oldest frame held; 0: none."""
    last_seq: int
    acked_seq: int
    unacked_frames: int
    unacked_records: int
    bytes: int
    cap_bytes: int
    rejected_frames: int = 0


def new_state(host_id: str, epoch: bytes) -> LogState:
    genesis = Mark(0, genesis_hash(host_id, epoch), 0)
    return LogState(host_id, epoch, genesis, genesis, genesis)


def stat_of(state: LogState, used_bytes: int, cap_bytes: int) -> LogStat:
    return LogStat(
        epoch=state.epoch,
        first_seq=state.first_seq,
        last_seq=state.head.seq,
        acked_seq=state.acked.seq,
        unacked_frames=state.head.seq - state.acked.seq,
        unacked_records=state.head.records - state.acked.records,
        bytes=used_bytes,
        cap_bytes=cap_bytes,
        rejected_frames=state.rejected_frames,
    )


def write_state(state: LogState) -> bytes:
    told = {
        "layout": LAYOUT,
        "host_id": state.host_id,
        "epoch": state.epoch,
        **{name: [mark.seq, mark.hash, mark.records] for name, mark in _marks(state).items()},
        "rejected_seq": state.rejected_seq,
        "rejected_frames": state.rejected_frames,
    }
    return encode(told)


def read_state(raw: bytes) -> LogState:
    """Raises DamagedCheckpoint for what ``write_state`` did not make, or made in another layout."""
    return _state_of(decode(raw))


def find_state(raw: bytes) -> LogState:
    """The state with which these bytes begin. Raises DamagedCheckpoint."""
    return _state_of(decode_first(raw))


def _state_of(data: Any) -> LogState:
    try:
        if data.pop("layout") != LAYOUT:
            raise OtherLayout("another version of gputally wrote the log")
        for name in _MARKS:
            data[name] = Mark(*data[name])
        return LogState(**data)
    except (AttributeError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"the log's state lacks something: {error}") from None


def _marks(state: LogState) -> dict[str, Mark]:
    return {"head": state.head, "acked": state.acked, "trimmed": state.trimmed}
