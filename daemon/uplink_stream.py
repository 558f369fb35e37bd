"""One stream, in gRPC's threads: says what the protocol permits, hears answers, and lets trio know.

gRPC's own thread takes requests from ``_requests``, which reads the log; ours runs ``run`` and hears answers.
Where they and trio meet is in uplink_talk.py.
"""

from collections.abc import Callable, Iterator
from typing import Final

import grpc

from ..model.rule_text import RuleText
from ..proto.v1 import uplink_pb2 as wire
from ..storage.frame import span_of
from ..storage.wal import Log, LogBroken
from .replay import Room
from .replay_events import Fork, Opened, Order, Said, TakeBack, TakeRules, Welcomed
from .replay_phases import Violation
from .uplink_channel import Call, Trouble, call_stream, trouble_of
from .uplink_talk import Talk
from .uplink_words import answer_in, frame_message, goodbye

_FRAMES_AT_ONCE: Final = 64
_BYTES_AT_ONCE: Final = 1 << 20
"""Copied out of the log in one read; what the host's memory holds of a backlog, however long that is."""


class Stream:
    """One call of Stream. Not used again when it is over."""

    def __init__(
        self,
        log: Log,
        hello: wire.HostMessage,
        opened: Opened,
        poke: Callable[[], None],
        take_back: Callable[[TakeBack], None],
        take_rules: Callable[[RuleText], None] = lambda _: None,
    ) -> None:
        """``poke`` wakes trio from any thread; ``take_back`` does so in the log and returns when it is durable.

        ``take_rules`` is told of rules, in our thread, and keeps nobody waiting.
        """
        self._log, self._hello, self._take_back, self._take_rules = log, hello, take_back, take_rules
        self.epoch: bytes = hello.hello.epoch
        """That Hello named: nothing that the log says in another one belongs on this stream."""
        self.talk = Talk(opened, poke)
        self._call: Call | None = None
        self._welcome_hash = b""
        """Of the newest frame that the collector had when it welcomed us."""
        self.broken: LogBroken | None = None
        """The log failed while it was read for sending; whoever reads this must not go on as if it had not."""

    def run(self, channel: grpc.Channel) -> None:
        """Until the stream is over, however it ends; blocks, never raises."""
        try:
            self._call = call = call_stream(channel, self._requests())
            if self.talk.is_hung_up:
                call.cancel()
            if not call.add_callback(self.talk.note_end):
                self.talk.note_end()
            while (message := self._next(call)) is not None:
                self._hear(message)
        except grpc.RpcError as error:
            self.talk.end(trouble_of(error))
        except Violation as violation:
            self.talk.end(Trouble(f"the collector does not keep to the protocol: {violation}"))
        except LogBroken as broken:
            self._note_broken(broken)
            self.talk.end(Trouble(str(broken)))
        except Exception as error:  # a thread has nobody above it: whatever it is, the stream is over
            self.talk.end(Trouble(f"{type(error).__name__}: {error}"))
        else:
            self.talk.end(None)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends the call at once, if it is still there. From any thread; ``run`` returns soon after."""
        # In this order: ``run`` looks the other way round, so that one of the two sees the other.
        self.talk.hang_up()
        if self._call is not None:
            self._call.cancel()

    def give_up(self, trouble: Trouble | None) -> None:
        """As ``cancel``, with the reason, unless there is one already."""
        self.talk.blame(trouble)
        self.cancel()

    def _requests(self) -> Iterator[bytes]:
        """Runs in gRPC's thread. Must end when the stream does and must not raise: gRPC would hide both."""
        try:
            yield self._hello.SerializeToString()
            needed_bytes = 0
            while (room := self.talk.wait_for_room(needed_bytes)) is not None:
                frames = self._read(room)
                if self._is_renewed:
                    self.talk.leave()
                    break
                claimed = self.talk.claim(room.first_seq, [_said(raw) for raw in frames])
                for raw in frames[:claimed]:
                    yield frame_message(raw)
                needed_bytes = len(frames[claimed]) if claimed < len(frames) else 0
            yield goodbye("nothing more to say").SerializeToString()
        except LogBroken as broken:
            self._note_broken(broken)
            self.cancel()
        except Exception as error:
            self.talk.end(Trouble(f"{type(error).__name__}: {error}"))
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
        return self._log.read(room.first_seq, min(room.frames, _FRAMES_AT_ONCE), min(room.size_bytes, _BYTES_AT_ONCE))

    def _next(self, call: Call) -> wire.CollectorMessage | None:
        """What the collector says next; None when it has ended the stream.

        gRPC looks ten times a second whether something has come. While nothing is on the wire nothing
        needs an answer, so a stream that lingers is not asked at once.
        """
        self.talk.wait_to_hear()
        return next(call, None)

    def _hear(self, message: wire.CollectorMessage) -> None:
        if message.HasField("goodbye"):
            self.talk.hear_goodbye(Trouble(f"the collector said goodbye: {message.goodbye.reason}"))
        elif (answer := answer_in(message, self._log)) is not None:
            if isinstance(answer, Welcomed) and self._is_renewed:
                # It was compared with the new epoch, perhaps. What is acknowledged of the old one does no harm.
                self.cancel()
            else:
                order = self.talk.take(answer)
                if isinstance(answer, Welcomed):
                    self._welcome_hash = answer.head_hash  # in time: it is wanted behind a TakeBack only
                self._obey(order)
        self.talk.tell()

    def _obey(self, order: Order | None) -> None:
        """What is not for trio to see to."""
        if isinstance(order, TakeBack):
            self._take_back(order)
            self.talk.taken_back()
        elif isinstance(order, TakeRules):
            self._take_rules(order.text)
        elif isinstance(order, Fork):
            self.cancel()


def _said(raw: bytes) -> Said:
    first_seq, seq = span_of(raw)
    return Said(seq, len(raw), first_seq)
