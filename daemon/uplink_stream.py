"""One stream, in gRPC's threads: says what the protocol permits, hears answers, and lets trio know.

Three threads meet here. gRPC's own takes requests from ``_requests``, which reads
the log; ours runs ``run`` and hears answers; trio looks at ``progress`` and takes
``orders`` whenever it was poked. The condition guards the protocol's value and is
never held over a call to the log, to gRPC or to trio.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc

from ..proto.v1 import uplink_pb2 as wire
from ..proto.v1.uplink_pb2_grpc import UplinkStub
from ..storage.frame import span_of
from ..storage.wal import Log, LogBroken
from .replay import Phase, Replay, Room, Violation
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
    TakeBack,
    TakenBack,
    Welcomed,
    Written,
)
from .uplink_channel import Trouble, trouble_of
from .uplink_words import answer_in

_REST_S: Final = 5.0
"""For so long a collector's unasked word may wait on a stream that has nothing to say."""
_FRAMES_AT_ONCE: Final = 32
"""Copied out of the log in one read; what the host's memory holds of a backlog, however long that is."""


class _Call(Protocol):
    """What gRPC returns for a stream."""

    def __iter__(self) -> Iterator[wire.CollectorMessage]: ...

    def __next__(self) -> wire.CollectorMessage: ...

    def add_callback(self, callback: Callable[[], None]) -> bool: ...

    def cancel(self) -> bool: ...


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


class Stream:
    """One call of Stream. Not used again when it is over."""

    def __init__(
        self,
        log: Log,
        hello: wire.HostMessage,
        opened: Opened,
        poke: Callable[[], None],
        take_back: Callable[[TakeBack], None],
    ) -> None:
        """``poke`` wakes trio from any thread; ``take_back`` does so in the log and returns when it is durable."""
        self._log, self._hello, self._poke, self._take_back = log, hello, poke, take_back
        self.epoch: bytes = hello.hello.epoch
        """That Hello named: nothing that the log says in another one belongs on this stream."""
        self._changed = threading.Condition()
        self._replay = Replay()
        self._replay.take(opened)
        self._orders: deque[Acknowledge | Bury] = deque()
        self._call: _Call | None = None
        self._welcomed = self._ended = self._over = self._cancelled = self._poked = False
        self._moved_s = time.monotonic()
        self._welcome_hash = b""
        """Of the newest frame that the collector had when it welcomed us."""
        self._trouble: Trouble | None = None
        self._fork: Fork | None = None
        self.broken: LogBroken | None = None
        """The log failed while it was read for sending; whoever reads this must not go on as if it had not."""

    def run(self, channel: grpc.Channel) -> None:
        """Until the stream is over, however it ends; blocks, never raises."""
        try:
            stub: Any = UplinkStub(channel)  # its types name the generated classes by another path than ours
            call: _Call = stub.Stream(self._requests())
            with self._changed:
                self._call = call
                cancelled = self._cancelled
            if cancelled:
                call.cancel()
            if not call.add_callback(self._note_end):
                self._note_end()
            while (message := self._next(call)) is not None:
                self._hear(message)
        except grpc.RpcError as error:
            self._end(trouble_of(error))
        except Violation as violation:
            self._end(Trouble(f"the collector does not keep to the protocol: {violation}"))
        except LogBroken as broken:
            self._note_broken(broken)
            self._end(Trouble(str(broken)))
        except Exception as error:  # a thread has nobody above it: whatever it is, the stream is over
            self._end(Trouble(f"{type(error).__name__}: {error}"))
        else:
            self._end(None)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends the call at once, if it is still there. From any thread; ``run`` returns soon after."""
        with self._changed:
            self._cancelled = True
            call = self._call
            self._changed.notify_all()
        if call is not None:
            call.cancel()

    def give_up(self, trouble: Trouble | None) -> None:
        """As ``cancel``, with the reason, unless there is one already."""
        with self._changed:
            self._trouble = self._trouble or trouble
        self.cancel()

    def leave(self) -> None:
        """Says goodbye behind what was said; the collector then ends the stream."""
        with self._changed:
            if not self._over:
                self._moved_s = time.monotonic()
                self._note(Left())

    def grow(self, newest_seq: int) -> None:
        """The log has frames through ``newest_seq``."""
        with self._changed:
            if self._replay.all_acknowledged:
                self._moved_s = time.monotonic()
            self._note(Written(newest_seq))

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

    def _requests(self) -> Iterator[wire.HostMessage]:
        """Runs in gRPC's thread. Must end when the stream does and must not raise: gRPC would hide both."""
        try:
            yield self._hello
            needed_bytes = 0
            while (room := self._wait_for_room(needed_bytes)) is not None:
                frames = self._read(room)
                if self._is_renewed:
                    self.leave()
                    break
                claimed = self._claim(room.first_seq, frames)
                for raw in frames[:claimed]:
                    yield wire.HostMessage(frame=raw)
                needed_bytes = len(frames[claimed]) if claimed < len(frames) else 0
            yield wire.HostMessage(goodbye=wire.Goodbye(reason="nothing more to say"))
        except LogBroken as broken:
            self._note_broken(broken)
            self.cancel()
        except Exception as error:
            self._end(Trouble(f"{type(error).__name__}: {error}"))
            self.cancel()

    @property
    def _is_renewed(self) -> bool:
        """Whether the log was begun anew under us. Asked after it was read: if not, what was read is of our epoch."""
        return self._log.epoch != self.epoch

    def _note_broken(self, broken: LogBroken) -> None:
        """A frame that we want and a log that was begun anew does not hold is nothing broken."""
        if not self._is_renewed:
            self.broken = broken

    def _read(self, room: Room) -> list[bytes]:
        if room.trimmed_seq:
            return [self._log.trimmed_skip(room.first_seq, self._welcome_hash)]
        return self._log.read(room.first_seq, min(room.frames, _FRAMES_AT_ONCE), room.size_bytes)

    def _next(self, call: _Call) -> wire.CollectorMessage | None:
        """What the collector says next; None when it has ended the stream.

        gRPC looks ten times a second whether something has come. While nothing is on the wire nothing
        needs an answer, so a stream that lingers is not asked at once.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._done_saying or self._awaits_answer, _REST_S)
        return next(call, None)

    @property
    def _awaits_answer(self) -> bool:
        return not self._welcomed or self._replay.on_wire_frames > 0

    def _note_end(self) -> None:
        """Called by gRPC when the call has ended, however that came."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait_for_room(self, needed_bytes: int) -> Room | None:
        """Room for a frame of this size, at least. None: nothing more may be said on this stream."""

        def enough() -> Room | None:
            room = self._replay.room
            return room if room is not None and (room.any_size or room.size_bytes >= needed_bytes) else None

        with self._changed:
            self._changed.wait_for(lambda: self._done_saying or enough())
            return None if self._done_saying else enough()

    def _claim(self, first_seq: int, frames: list[bytes]) -> int:
        """How many of these may go on the wire now, in one go; they count as said.

        None of them if another frame is wanted by now, or nothing may be said any more.
        """
        claimed = 0
        spans = [span_of(raw) for raw in frames]
        with self._changed:
            if self._done_saying or self._replay.said_seq + 1 != first_seq:
                return 0
            if self._replay.on_wire_frames == 0:
                self._moved_s = time.monotonic()
                self._changed.notify_all()
            for (first, last), raw in zip(spans, frames, strict=True):
                if not self._replay.may_say(last, len(raw), first):
                    break
                self._replay.take(Said(last, len(raw), first))
                claimed += 1
        return claimed

    @property
    def _done_saying(self) -> bool:
        return self._over or self._cancelled or self._replay.phase in (Phase.LEAVING, Phase.FORKED)

    def _hear(self, message: wire.CollectorMessage) -> None:
        if message.HasField("goodbye"):
            with self._changed:
                self._trouble = Trouble(f"the collector said goodbye: {message.goodbye.reason}")
                self._moved_s = time.monotonic()
                self._note(Left())
        elif (answer := answer_in(message, self._log)) is not None:
            if isinstance(answer, Welcomed) and self._is_renewed:
                # It was compared with the new epoch, perhaps. What is acknowledged of the old one does no harm.
                self.cancel()
            else:
                self._obey(self._take(answer))
        if not self._poked:  # once until somebody looks: on a busy stream answers come by the thousand
            self._poked = True
            self._poke()

    def _take(self, answer: Answer) -> Order | None:
        with self._changed:
            order = self._replay.take(answer)
            if isinstance(answer, Welcomed):
                self._welcomed, self._welcome_hash = True, answer.head_hash
            if order is not None or isinstance(answer, Welcomed):
                self._moved_s = time.monotonic()
            self._changed.notify_all()
            return order

    def _obey(self, order: Order | None) -> None:
        match order:
            case TakeBack():
                self._take_back(order)
                with self._changed:
                    self._note(TakenBack())
            case Fork():
                self._fork = order
                self.cancel()
            case Acknowledge() | Bury():
                with self._changed:
                    if isinstance(order, Acknowledge) and self._orders and isinstance(self._orders[-1], Acknowledge):
                        self._orders.pop()
                    self._orders.append(order)
            case None:
                pass

    def _note(self, event: Left | Written | TakenBack) -> None:
        self._replay.take(event)
        self._changed.notify_all()

    def _end(self, trouble: Trouble | None) -> None:
        with self._changed:
            self._trouble = self._trouble or trouble
            if not self._over:
                self._over = True
                self._replay.take(Lost())
            self._changed.notify_all()
        self._poke()
