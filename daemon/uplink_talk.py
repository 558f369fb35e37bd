"""How one stream stands: the protocol's value under a lock, for three threads to look at, to change and to wait on.

gRPC's own thread waits for room and claims it; ours waits until there is something to hear, and takes answers;
trio looks at ``progress`` and takes ``orders`` whenever it was poked. Nothing in here calls the log or gRPC, so the
lock is never held for long.

Answers are asked for late. gRPC wakes whoever waits for one with every frame that has left, in vain: that costs
more than to read and check a frame. So nobody waits before the wire is half full, or there is nothing to be said.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from .replay import Replay, Room
from .replay_events import (
    Acknowledge,
    Answer,
    Bury,
    Fork,
    Left,
    Lost,
    Opened,
    Order,
    Said,
    TakenBack,
    TakeRules,
    Welcomed,
    Written,
)
from .replay_phases import Phase
from .uplink_channel import Trouble

_REST_S: Final = 5.0
"""For so long a collector's unasked word may wait on a stream that has nothing to say."""
_GATHER_S: Final = 0.05
"""For so long an answer may wait while frames go out."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How a stream stands. ``moved_s``: when it last got on, by time.monotonic()."""

    phase: Phase
    welcomed: bool
    all_acknowledged: bool
    moved_s: float
    over: bool
    trouble: Trouble | None
    fork: Fork | None


class Talk:
    """All methods may be called from any thread; those named ``wait_`` block."""

    def __init__(self, opened: Opened, poke: Callable[[], None]) -> None:
        """``poke`` wakes trio: it is called with the lock free."""
        self._poke = poke
        self._changed = threading.Condition()
        self._replay = Replay()
        self._replay.take(opened)
        self._orders: deque[Acknowledge | Bury] = deque()
        self._welcomed = self._over = self._poked = False
        self._is_hung_up = self._is_ended = False
        self._is_starved = False
        """Whether frames wait for answers."""
        self._moved_s = time.monotonic()
        self._trouble: Trouble | None = None
        self._fork: Fork | None = None

    def progress(self) -> Progress:
        with self._changed:
            return Progress(
                phase=self._replay.phase,
                welcomed=self._welcomed,
                all_acknowledged=self._replay.all_acknowledged,
                moved_s=self._moved_s,
                over=self._over,
                trouble=self._trouble,
                fork=self._fork,
            )

    def orders(self) -> list[Acknowledge | Bury]:
        """What the log is to be told, in order; of several acknowledgements in a row only the last."""
        with self._changed:
            taken = list(self._orders)
            self._orders.clear()
            self._poked = False
        return taken

    def grow(self, newest_seq: int) -> None:
        """The log has frames through ``newest_seq``."""
        with self._changed:
            if self._replay.all_acknowledged:
                self._moved_s = time.monotonic()
            self._note(Written(newest_seq))

    def leave(self) -> None:
        """Nothing more is said but goodbye."""
        with self._changed:
            if not self._over:
                self._moved_s = time.monotonic()
                self._note(Left())

    def wait_for_room(self, needed_bytes: int) -> Room | None:
        """Room for a frame of this size, at least. None: nothing more may be said on this stream."""
        with self._changed:
            while (room := self._room_for(needed_bytes)) is None and not self._is_done_saying:
                self._is_starved = True
                self._changed.notify_all()
                self._changed.wait()
            self._is_starved = False
            return None if self._is_done_saying else room

    def claim(self, first_seq: int, frames: Sequence[Said]) -> int:
        """How many of these may go on the wire now, in one go; they count as said.

        None of them if another frame is wanted by now, or nothing may be said any more.
        """
        with self._changed:
            wire = self._replay.wire
            if self._is_done_saying or self._replay.said_seq + 1 != first_seq:
                return 0
            if not wire:
                self._moved_s = time.monotonic()
                self._changed.notify_all()
            claimed = self._replay.say(frames)
            if wire.is_half_used:
                self._changed.notify_all()
            return claimed

    def wait_to_hear(self) -> None:
        """Until an answer is needed; not for ever, for one may come that nobody asked for."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_to_hear_out or len(self._replay.wire) > 0, _REST_S)
            self._changed.wait_for(lambda: self._is_to_hear_out or self._must_hear, _GATHER_S)

    def take(self, answer: Answer) -> Order | None:
        """Raises Violation. What it means for the log is among the ``orders``, or is to be obeyed before the next."""
        with self._changed:
            order = self._replay.take(answer)
            self._welcomed = self._welcomed or isinstance(answer, Welcomed)
            # Rules get no frame on: told without end they must not keep a stream open for ever.
            if isinstance(answer, Welcomed) or not (order is None or isinstance(order, TakeRules)):
                self._moved_s = time.monotonic()
            if isinstance(order, Fork):
                self._fork = order
            if isinstance(order, Acknowledge | Bury):
                self._keep(order)
                order = None
            self._changed.notify_all()
        return order

    def taken_back(self) -> None:
        """The log counts as unacknowledged what the collector has lost."""
        with self._changed:
            self._note(TakenBack())

    def hear_goodbye(self, trouble: Trouble) -> None:
        with self._changed:
            self._trouble = trouble
            self._moved_s = time.monotonic()
            self._note(Left())

    def tell(self) -> None:
        """Pokes, once until somebody looks: on a busy stream answers come by the thousand."""
        if not self._poked:
            self._poked = True
            self._poke()

    def blame(self, trouble: Trouble | None) -> None:
        """Why the stream will end, unless that is known already."""
        with self._changed:
            self._trouble = self._trouble or trouble

    def hang_up(self) -> None:
        """Nothing more is said, and no goodbye."""
        with self._changed:
            self._is_hung_up = True
            self._changed.notify_all()

    def note_end(self) -> None:
        """The call has ended, however that came; what it has still to tell is to be heard."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def end(self, trouble: Trouble | None) -> None:
        """It is over: whatever is not acknowledged will be said on another."""
        with self._changed:
            self._trouble = self._trouble or trouble
            if not self._over:
                self._over = True
                self._replay.take(Lost())
            self._changed.notify_all()
        self._poke()

    @property
    def is_hung_up(self) -> bool:
        return self._is_hung_up

    @property
    def _is_done_saying(self) -> bool:
        return self._over or self._is_hung_up or self._replay.phase in (Phase.LEAVING, Phase.FORKED)

    @property
    def _is_to_hear_out(self) -> bool:
        """Whether all there is left to do is to hear, or there is no Welcome yet."""
        return self._is_ended or not self._welcomed or self._is_done_saying

    @property
    def _must_hear(self) -> bool:
        return self._is_starved or self._replay.wire.is_half_used

    def _room_for(self, needed_bytes: int) -> Room | None:
        # Who had to wait goes on in larger steps: to read frame by frame as each is acknowledged costs more.
        if self._is_starved and self._replay.is_tight:
            return None
        room = self._replay.room
        return room if room is not None and (room.any_size or room.size_bytes >= needed_bytes) else None

    def _keep(self, order: Acknowledge | Bury) -> None:
        if isinstance(order, Acknowledge) and self._orders and isinstance(self._orders[-1], Acknowledge):
            self._orders.pop()
        self._orders.append(order)

    def _note(self, event: Left | Written | TakenBack) -> None:
        self._replay.take(event)
        self._changed.notify_all()
