"""What may be on the wire, what an answer permits, and what a lost stream means.

Holds no socket and reads no clock: events go in, the next frames to say and
the orders for the log come out. Each phase knows the events of the table at
the end of this file; any other is a ``Violation`` by the collector, after which the
stream is given up and said again from the last place that both sides agree on.

    APART --Opened--> GREETING --Welcomed--> STREAMING --Left--> LEAVING
                          |    --Welcomed--> REWINDING --TakenBack--> STREAMING
                          +----Welcomed----> FORKED, for good
    any but FORKED --Lost--> APART
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias


class Phase(Enum):
    """Where a stream is."""

    APART = "apart"
    GREETING = "greeting"
    REWINDING = "rewinding"
    STREAMING = "streaming"
    LEAVING = "leaving"
    FORKED = "forked"


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


Event: TypeAlias = Opened | Written | Said | Welcomed | TakenBack | Acked | Resumed | Rejected | Left | Lost


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


@dataclass(frozen=True, slots=True)
class Room:
    """What may be said now: frames from ``first_seq`` on, at most so many and so large.

    With nothing else on the wire one frame may go whatever its size, or a
    window that is smaller than a frame would never let it pass.
    """

    first_seq: int
    frames: int
    size_bytes: int
    any_size: bool


class Violation(Exception):
    """The collector said what makes no sense here. The stream is given up; nothing is lost."""


@dataclass(slots=True)
class Replay:
    """acked_seq <= said_seq <= newest_seq; the frames between the first two are on the wire."""

    phase: Phase = Phase.APART
    acked_seq: int = 0
    said_seq: int = 0
    newest_seq: int = 0
    _window_frames: int = 0
    _window_bytes: int = 0
    _sizes: deque[int] = field(default_factory=deque[int])
    _on_wire_bytes: int = 0

    @property
    def on_wire_frames(self) -> int:
        """Said on this stream and not yet acknowledged."""
        return len(self._sizes)

    @property
    def on_wire_bytes(self) -> int:
        return self._on_wire_bytes

    @property
    def room(self) -> Room | None:
        """The frames that may be said now; None: none."""
        frames = min(max(self._window_frames, 1) - self.on_wire_frames, self.newest_seq - self.said_seq)
        free_bytes = self._window_bytes - self._on_wire_bytes
        alone = not self._sizes
        if self.phase is not Phase.STREAMING or frames < 1 or not (alone or free_bytes > 0):
            return None
        return Room(self.said_seq + 1, frames, max(free_bytes, 0), alone)

    @property
    def all_acknowledged(self) -> bool:
        return self.acked_seq == self.newest_seq

    def take(self, event: Event) -> Order | None:
        """Raises Violation for an event that the phase does not know, or that cannot be true."""
        known = _TABLE[self.phase].get(type(event))
        if known is None:
            raise Violation(f"{type(event).__name__.lower()} while {self.phase.value}")
        return known(self, event)

    def _open(self, event: Opened) -> None:
        self._end(Phase.GREETING)
        self.acked_seq = self.said_seq = event.acked_seq
        self.newest_seq = event.newest_seq

    def _grow(self, event: Written) -> None:
        self.newest_seq = max(self.newest_seq, event.newest_seq)

    def _welcome(self, event: Welcomed) -> Order | None:
        why = self._why_forked(event)
        if why is not None:
            self.phase = Phase.FORKED
            return Fork(why)
        self._window_frames, self._window_bytes = event.window_frames, event.window_bytes
        before_seq, self.acked_seq, self.said_seq = self.acked_seq, event.committed_seq, event.committed_seq
        if event.committed_seq < before_seq:
            self.phase = Phase.REWINDING
            return TakeBack(event.committed_seq)
        self.phase = Phase.STREAMING
        return Acknowledge(event.committed_seq) if event.committed_seq > before_seq else None

    def _why_forked(self, event: Welcomed) -> str | None:
        seq = event.committed_seq
        if seq > self.newest_seq:
            return f"the collector has frames through {seq}, but this log ends at {self.newest_seq}"
        if event.own_hash is None:
            return f"the collector has frames only through {seq}, and this log does not hold the next any more"
        if event.own_hash != event.head_hash:
            return f"frame {seq} of the collector is another than frame {seq} of this log"
        return None

    def _rewound(self, _: TakenBack) -> None:
        self.phase = Phase.STREAMING

    def _say(self, event: Said) -> None:
        room = self.room
        allowed = room and event.seq == room.first_seq and (room.any_size or event.size_bytes <= room.size_bytes)
        if not allowed:
            raise ValueError(f"frame {event.seq} with {event.size_bytes} bytes may not be said now: {room}")
        self.said_seq = event.seq
        self._sizes.append(event.size_bytes)
        self._on_wire_bytes += event.size_bytes

    def _ack(self, event: Acked) -> Order | None:
        if event.through_seq > self.said_seq:
            raise Violation(f"frame {event.through_seq} acknowledged, but only {self.said_seq} was said")
        if event.through_seq <= self.acked_seq:
            return None  # said before, or overtaken by a later one
        self._settle(event.through_seq)
        return Acknowledge(event.through_seq)

    def _resume(self, event: Resumed) -> None:
        if not self.acked_seq < event.next_seq <= self.said_seq + 1:
            raise Violation(f"frame {event.next_seq} wanted; {self.acked_seq} is acknowledged, {self.said_seq} said")
        while self.said_seq >= event.next_seq:
            self.said_seq -= 1
            self._on_wire_bytes -= self._sizes.pop()

    def _reject(self, event: Rejected) -> Order:
        if event.seq > self.said_seq:
            raise Violation(f"frame {event.seq} rejected, but only {self.said_seq} was said")
        self._settle(max(event.seq, self.acked_seq))
        return Bury(event.seq, event.reason)

    def _settle(self, through_seq: int) -> None:
        for _ in range(through_seq - self.acked_seq):
            self._on_wire_bytes -= self._sizes.popleft()
        self.acked_seq = through_seq

    def _leave(self, _: Left) -> None:
        self.phase = Phase.LEAVING

    def _lose(self, _: Lost) -> None:
        self._end(Phase.APART)

    def _stay_forked(self, _: Event) -> None:
        """A fork ends only with a person."""

    def _end(self, phase: Phase) -> None:
        self.phase = phase
        self.said_seq = self.acked_seq
        self._sizes.clear()
        self._on_wire_bytes = 0


_Handler: TypeAlias = Callable[[Replay, Any], Order | None]
_ALWAYS: Final[Mapping[type[Event], _Handler]] = {Written: Replay._grow, Lost: Replay._lose}
_ANSWERS: Final[Mapping[type[Event], _Handler]] = {Acked: Replay._ack, Rejected: Replay._reject}
_TABLE: Final[Mapping[Phase, Mapping[type[Event], _Handler]]] = {
    Phase.APART: {**_ALWAYS, Opened: Replay._open},
    Phase.GREETING: {**_ALWAYS, Welcomed: Replay._welcome, Left: Replay._leave},
    Phase.REWINDING: {**_ALWAYS, TakenBack: Replay._rewound, Rejected: Replay._reject, Left: Replay._leave},
    Phase.STREAMING: {
        **_ALWAYS,
        **_ANSWERS,
        Said: Replay._say,
        Resumed: Replay._resume,
        Left: Replay._leave,
    },
    Phase.LEAVING: {**_ALWAYS, **_ANSWERS, Left: Replay._leave, Resumed: Replay._resume},
    Phase.FORKED: dict.fromkeys((Written, Lost, Left, Acked, Resumed, Rejected), Replay._stay_forked),
}
