"""What happens to a stream, and what follows for the log: frozen values, so that a run can be told and replayed."""

from dataclasses import dataclass
from typing import TypeAlias

from ..model.rule_text import RuleText


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
    """The next frame was put on the wire. A Skip stands for ``first_seq`` to ``seq``."""

    seq: int
    size_bytes: int
    first_seq: int = 0
    """0: ``seq``, as of any frame that is no Skip."""


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The collector's Welcome, and the hash that our own log has at ``committed_seq``; None: it holds none.

    ``goes_on_seq`` is the place from which the log can say what comes next: ``committed_seq`` itself; before
    it, if a Skip of ours begins before and ends behind it; behind it, if the next frames were trimmed.
    """

    committed_seq: int
    head_hash: bytes
    own_hash: bytes | None
    window_frames: int
    window_bytes: int
    goes_on_seq: int | None = None
    """None: ``committed_seq``."""


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
class Ruled:
    """The collector's rules, by which this host is to say whose time is whose. Of no frame, and no answer to any."""

    text: RuleText


@dataclass(frozen=True, slots=True)
class Left:
    """Either side said goodbye: nothing more is said, answers may still come."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream is over: everything unacknowledged will be said again on the next."""


OwnEvent: TypeAlias = Opened | Written | Said | TakenBack | Left | Lost
Answer: TypeAlias = Welcomed | Acked | Resumed | Rejected | Ruled
Event: TypeAlias = OwnEvent | Answer


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """For the log: the collector has everything through this seq."""

    through_seq: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """For the log: the collector has lost everything beyond this seq. ``TakenBack`` when that is durable."""

    through_seq: int
    missing: tuple[int, int] | None = None
    """First and last of the frames that are not held here either: a Skip says so, and a person should know."""


@dataclass(frozen=True, slots=True)
class Bury:
    """For the log: the collector has everything through this seq, and a tombstone in its place."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fork:
    """For the operator: the ledger and this log tell different stories. Nothing more is said or trimmed."""

    why: str


@dataclass(frozen=True, slots=True)
class TakeRules:
    """For the attributor: if they are any good, they are to decide. Nothing for the log."""

    text: RuleText


Order: TypeAlias = Acknowledge | TakeBack | Bury | Fork | TakeRules
