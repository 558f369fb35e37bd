"""What happens to a stream, and what follows for the log: frozen values, so that a run can be told and replayed."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Opened:
    """Hello was said. What the log holds: nothing beyond ``newest_seq``, acknowledged through ``acked_seq``."""

    acked_seq: int
    newest_seq: int


@dataclass(frozen=True, slots=True)
class Written:
    """The log has grown."""

    newest_seq: int


@dataclass(frozen=True, slots=True)
class Said:
    """The next frame was put on the wire."""

    seq: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The collector's Welcome, and the hash that our own log has at ``committed_seq``; None: it holds none."""

    committed_seq: int
    head_hash: bytes
    own_hash: bytes | None
    window_frames: int
    window_bytes: int


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The log counts as unacknowledged again what the collector has lost."""


@dataclass(frozen=True, slots=True)
class Acked:
    through_seq: int


@dataclass(frozen=True, slots=True)
class Resumed:
    next_seq: int


@dataclass(frozen=True, slots=True)
class Rejected:
    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Left:
    """Either side said goodbye: nothing more is said, answers may still come."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream is over: everything unacknowledged will be said again on the next."""


OwnEvent: TypeAlias = Opened | Written | Said | TakenBack | Left | Lost
Answer: TypeAlias = Welcomed | Acked | Resumed | Rejected
Event: TypeAlias = OwnEvent | Answer


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """For the log: the collector has everything through this seq."""

    through_seq: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """For the log: the collector has lost everything beyond this seq. ``TakenBack`` when that is durable."""

    through_seq: int


@dataclass(frozen=True, slots=True)
class Bury:
    """For the log: the collector has everything through this seq, and a tombstone in its place."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fork:
    """For the operator: the ledger and this log tell different stories. Nothing more is said or trimmed."""

    why: str


Order: TypeAlias = Acknowledge | TakeBack | Bury | Fork
