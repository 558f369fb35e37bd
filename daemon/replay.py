"""What may be on the wire, what an answer permits, and what a lost stream means.

Holds no socket and reads no clock: events go in, the next frames to say and
the orders for the log come out. Which phase knows which events is in
replay_phases.py; what is on the wire, within the collector's window, in
replay_window.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from .replay_events import (
    Acked,
    Acknowledge,
    Answer,
    Bury,
    Event,
    Fork,
    Left,
    Lost,
    Opened,
    Order,
    OwnEvent,
    Rejected,
    Resumed,
    Ruled,
    Said,
    TakeBack,
    TakenBack,
    TakeRules,
    Welcomed,
    Written,
)
from .replay_phases import Phase, Violation, heeds
from .replay_window import Window

MOST_RULE_SETS: Final = 100
"""On one stream. After that it is given up and begun anew, as after anything else that makes no sense."""


@dataclass(frozen=True, slots=True)
class Room:
    """What may be said now: frames from ``first_seq`` on, at most so many and so large.

    One frame may go whatever its size (``any_size``) with nothing else on the wire.
    """

    first_seq: int
    frames: int
    size_bytes: int
    any_size: bool
    trimmed_seq: int = 0
    """If not 0: of the frames to this one neither side has any more, and one Skip from ``first_seq`` on says so."""


@dataclass(slots=True)
class Replay:
    """acked_seq <= said_seq <= newest_seq; the frames between the first two are on the wire.

    Not those before a Skip of ours that spans where the collector stands: it has them, or another history.
    The ledger compares the chain where the Skip begins, so until it takes that nothing is acknowledged.
    """

    phase: Phase = Phase.APART
    acked_seq: int = 0
    said_seq: int = 0
    newest_seq: int = 0
    _furthest_seq: int = 0
    """The newest said on this stream, also if a Resume has led back behind it."""
    _begun_seq: int = 0
    """Behind it this stream began to say."""
    _welcomed_seq: int = 0
    """Where the collector stood at its Welcome."""
    _trimmed_seq: int = 0
    """What the collector lacks and the log does not hold any more ends here; 0: there is nothing like that."""
    _rule_sets: int = 0
    """That were told on this stream."""
    wire: Window = field(default_factory=Window)
    """Said on this stream and not yet acknowledged."""

    @property
    def room(self) -> Room | None:
        """The frames that may be said now; None: none."""
        frames = min(self.wire.free_frames, self.newest_seq - self.said_seq)
        if self.phase is not Phase.STREAMING or frames < 1:
            return None
        trimmed_seq = self._trimmed_seq if self.said_seq < self._trimmed_seq else 0
        return Room(self.said_seq + 1, frames, self.wire.free_bytes, not self.wire, trimmed_seq)

    @property
    def is_tight(self) -> bool:
        """Whether more is to be said than the window has places for, and those are less than a quarter of it."""
        return self.wire.free_frames < min(self.wire.most_frames // 4, self.newest_seq - self.said_seq)

    @property
    def all_acknowledged(self) -> bool:
        return self.acked_seq == self.newest_seq

    def may_say(self, seq: int, size_bytes: int, first_seq: int = 0) -> bool:
        """Whether this frame may go on the wire now; the world may have changed since ``room`` was asked.

        A Skip may if what is wanted next is inside its range, wherever that begins.
        """
        next_seq = self.said_seq + 1
        return (
            self.phase is Phase.STREAMING
            and (first_seq or seq) <= next_seq <= seq
            and next_seq <= self.newest_seq
            and self.wire.fits(size_bytes)
        )

    def say(self, frames: Iterable[Said]) -> int:
        """``Said`` for as many of these as may go on the wire now, in one go: how many that is."""
        count = 0
        for frame in frames:
            if not self.may_say(frame.seq, frame.size_bytes, frame.first_seq):
                break
            self._put_on_wire(frame)
            count += 1
        return count

    def take(self, event: Event) -> Order | None:
        """Raises Violation for an event that the phase does not know, or that cannot be true."""
        if not heeds(self.phase, event):
            return None
        if isinstance(event, Answer):
            return self._hear(event)
        self._note(event)
        return None

    def _hear(self, answer: Answer) -> Order | None:
        match answer:
            case Welcomed():
                return self._welcome(answer)
            case Acked():
                return self._ack(answer)
            case Rejected():
                return self._reject(answer)
            case Ruled():
                return self._rule(answer)
            case Resumed():
                self._resume(answer)
                return None

    def _note(self, event: OwnEvent) -> None:
        match event:
            case Opened():
                self._open(event)
            case Written():
                self.newest_seq = max(self.newest_seq, event.newest_seq)
            case Said():
                self._say(event)
            case TakenBack():
                self.phase = Phase.STREAMING
            case Left():
                self.phase = Phase.LEAVING
            case Lost():
                self._end(Phase.APART)

    def _open(self, event: Opened) -> None:
        self._end(Phase.GREETING)
        self.acked_seq = self.said_seq = self._furthest_seq = event.acked_seq
        self.newest_seq = event.newest_seq

    def _welcome(self, event: Welcomed) -> Order | None:
        why = self._why_forked(event)
        if why is not None:
            self.phase = Phase.FORKED
            return Fork(why)
        self.wire.open(event.window_frames, event.window_bytes)
        before_seq, committed_seq = self.acked_seq, event.committed_seq
        goes_on_seq = committed_seq if event.goes_on_seq is None else event.goes_on_seq
        begun_seq = min(committed_seq, goes_on_seq)
        self.said_seq = self._furthest_seq = self._begun_seq = begun_seq
        self._welcomed_seq = committed_seq
        if goes_on_seq >= committed_seq or begun_seq < before_seq:
            self.acked_seq = begun_seq
        if goes_on_seq > committed_seq:
            self._trimmed_seq = goes_on_seq
            self.phase = Phase.REWINDING
            return TakeBack(goes_on_seq, (committed_seq + 1, goes_on_seq))
        if self.acked_seq < before_seq:
            self.phase = Phase.REWINDING
            return TakeBack(self.acked_seq)
        self.phase = Phase.STREAMING
        return Acknowledge(self.acked_seq) if self.acked_seq > before_seq else None

    def _why_forked(self, event: Welcomed) -> str | None:
        seq = event.committed_seq
        if seq > self.newest_seq:
            return f"the collector has frames through {seq}, but this log ends at {self.newest_seq}"
        if event.goes_on_seq not in (None, seq):
            return None  # what it has there nobody here can judge: the chain is compared where both know it
        if event.own_hash is None:
            return f"the collector has frames only through {seq}, and this log does not hold the next any more"
        if event.own_hash != event.head_hash:
            return f"frame {seq} of the collector is another than frame {seq} of this log"
        return None

    def _say(self, event: Said) -> None:
        if not self.say([event]):
            raise ValueError(f"frame {event.seq} with {event.size_bytes} bytes may not be said now: {self.room}")

    def _put_on_wire(self, frame: Said) -> None:
        self.wire.add(frame)
        self.said_seq = frame.seq
        self._furthest_seq = max(self._furthest_seq, frame.seq)

    def _ack(self, event: Acked) -> Order | None:
        if event.through_seq > self._furthest_seq:
            raise Violation(f"frame {event.through_seq} acknowledged, but only {self._furthest_seq} was said")
        before_seq = self.acked_seq
        self._settle(event.through_seq)
        # Not if it was said before, or overtaken by a later one.
        return Acknowledge(self.acked_seq) if self.acked_seq > before_seq else None

    def _resume(self, event: Resumed) -> None:
        if event.next_seq > self._furthest_seq + 1:
            raise Violation(f"frame {event.next_seq} wanted next, but only {self._furthest_seq} was said")
        # Not behind what is acknowledged: such a Resume was overtaken by the acknowledgement.
        if event.next_seq > self.acked_seq and self.wire.unsay(event.next_seq):
            newest = self.wire.newest
            self.said_seq = newest.seq if newest else max(self.acked_seq, self._begun_seq)

    def _reject(self, event: Rejected) -> Order | None:
        if self._begun_seq < event.seq <= self._welcomed_seq:
            return None  # an earlier stream brought it, and here a Skip stands in its place
        if event.seq > self._furthest_seq:
            raise Violation(f"frame {event.seq} rejected, but only {self._furthest_seq} was said")
        self._settle(event.seq)
        # Of whose frame, is not known before the Skip is taken; the next Welcome is followed by it again.
        return None if self._is_unproven else Bury(event.seq, event.reason)

    def _rule(self, event: Ruled) -> TakeRules:
        """One stream may live for months, and each change of the rules is told on it; but not without end."""
        self._rule_sets += 1
        if self._rule_sets > MOST_RULE_SETS:
            raise Violation(f"more than {MOST_RULE_SETS} rule sets on one stream")
        return TakeRules(event.text)

    @property
    def _is_unproven(self) -> bool:
        """Whether the collector may have another history than ours through where this stream began."""
        return self.acked_seq < self._begun_seq

    def _settle(self, through_seq: int) -> None:
        """What is through is no more on the wire. Of a Skip on it, only the whole counts."""
        was_said = self.wire.settle(through_seq)
        if self._is_unproven and not was_said:
            return
        if oldest := self.wire.oldest:
            through_seq = min(through_seq, (oldest.first_seq or oldest.seq) - 1)
        self.acked_seq = max(through_seq, self.acked_seq)
        self.said_seq = max(self.said_seq, self.acked_seq)

    def _end(self, phase: Phase) -> None:
        self.phase = phase
        self.said_seq = self.acked_seq
        self.wire.clear()
        self._trimmed_seq = self._begun_seq = self._welcomed_seq = self._rule_sets = 0
