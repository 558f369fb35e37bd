"""One stream, watched from trio: its answers are kept, and it is left or given up when its time is over."""

import math
import time
from dataclasses import dataclass, field
from typing import Protocol

import trio

from .replay_events import Acknowledge, Bury
from .replay_phases import Phase
from .uplink_channel import Trouble
from .uplink_stream import Stream
from .uplink_talk import Progress


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the uplink waits for what."""

    welcome_s: float = 10.0
    """From connecting to the collector's Welcome."""
    ack_s: float = 20.0
    """For an acknowledgement of what was said: our own deadline, whatever the transport believes."""
    goodbye_s: float = 2.0
    """For the collector to end a stream that was left."""
    close_s: float = 2.0
    """For a call or a channel to end; they can block for seconds, and are then left to their threads."""
    between_commits_s: float = 0.05
    """Between commits of acknowledgements; those that come meanwhile are one."""
    first_retry_s: float = 1.0
    longest_retry_s: float = 30.0


class Alarm:
    """Wakes the one task that waits, also if it rang before that did."""

    def __init__(self) -> None:
        self._rang = trio.Event()

    def ring(self) -> None:
        self._rang.set()

    async def wait(self, at_most_s: float = math.inf) -> None:
        with trio.move_on_after(at_most_s):
            await self._rang.wait()
        self._rang = trio.Event()


class Host(Protocol):
    """What the session needs of the uplink."""

    @property
    def linger_s(self) -> float:
        """How long a stream may idle now."""
        ...

    @property
    def outdated(self) -> bool:
        """Whether the stream should be left for one with the TLS files, or of the epoch, that are in force by now."""
        ...

    async def grown(self) -> int | None:
        """The newest seq, if the log has grown since it was last asked."""
        ...

    async def keep(self, orders: list[Acknowledge | Bury], epoch: bytes) -> None:
        """Makes durable what the collector has answered about frames of this epoch."""
        ...

    def look(self, progress: Progress) -> None: ...


@dataclass(slots=True)
class Session:
    """Watches until the stream is over, or must be abandoned since it would not end."""

    stream: Stream
    host: Host
    alarm: Alarm
    pace: Pace
    _gave_up_s: float | None = field(default=None, init=False)

    async def watch(self) -> Progress:
        """How it stood at the end, everything it was told kept."""
        while True:
            # In this order: what a stream was told before it ended is there when it is seen to be over.
            progress = self.stream.talk.progress()
            self.host.look(progress)
            await self.host.keep(self.stream.talk.orders(), self.stream.epoch)
            if progress.over or self._abandon():
                return progress
            newest_seq = await self.host.grown()
            if newest_seq is not None:
                self.stream.talk.grow(newest_seq)
                progress = self.stream.talk.progress()
            if progress.phase is Phase.STREAMING and self.host.outdated:
                self.stream.talk.leave()
                progress = self.stream.talk.progress()
            patience_s = self._patience_s(progress)
            if patience_s <= 0:
                self._lose_patience(progress)
            await self.alarm.wait(max(patience_s, 0) or self.pace.close_s)

    def _abandon(self) -> bool:
        return self._gave_up_s is not None and time.monotonic() - self._gave_up_s >= self.pace.close_s

    def _patience_s(self, progress: Progress) -> float:
        """How long the stream may stay as it is. With the acknowledgement of everything begins the lingering."""
        if self._gave_up_s is not None:
            return self._gave_up_s + self.pace.close_s - time.monotonic()
        limits = {
            Phase.GREETING: self.pace.welcome_s,
            Phase.STREAMING: self.host.linger_s if progress.all_acknowledged else self.pace.ack_s,
            Phase.LEAVING: self.pace.goodbye_s,
        }
        return progress.moved_s + limits.get(progress.phase, math.inf) - time.monotonic()

    def _lose_patience(self, progress: Progress) -> None:
        if progress.phase is Phase.STREAMING and progress.all_acknowledged:
            self.stream.talk.leave()
        elif self._gave_up_s is None:
            self._gave_up_s = time.monotonic()
            self.stream.give_up(self._reason(progress))

    def _reason(self, progress: Progress) -> Trouble | None:
        match progress.phase:
            case Phase.GREETING:
                return Trouble(f"no welcome within {self.pace.welcome_s:g} s: something is there, and answers nothing")
            case Phase.STREAMING:
                return Trouble(f"no acknowledgement within {self.pace.ack_s:g} s")
            case Phase.LEAVING:
                # Frames that came after the goodbye still wait, or nobody would ask.
                return Trouble(f"no acknowledgement and no goodbye within {self.pace.goodbye_s:g} s of ours")
            case _:
                return None
