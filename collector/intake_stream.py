"""One stream of one host: hello, welcome, frames in, acknowledgements out.

Two tasks: one reads frames and offers them to the ledger's writer, the other, whose
life is the stream's, sends what became of them. A frame is acknowledged only when
its commit has come back from the disk. If the host goes away, what it had sent is
committed all the same; it hears so when it comes again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import grpc

from ..model.decisions import RESERVED_PREFIX
from ..proto.v1 import uplink_pb2 as wire
from ..storage.frame import EPOCH_BYTES, FORMAT, MAX_PAYLOAD_BYTES
from ..storage.ledger_folder import LedgerError
from ..storage.ledger_rules import Offer, Ruling, StreamId, Verdict
from .budget import Budget
from .examine import OtherEpoch, examine
from .intake_rules import RuleNews
from .replies import Replies
from .writer import LedgerWriter, Welcomed

_log = logging.getLogger(__name__)
WINDOW_FRAMES: Final = 64
WINDOW_BYTES: Final = 8 * 1024 * 1024
HELLO_DEADLINE_S: Final = 10.0
_LONGEST_NAME: Final = 255
_LARGEST_FRAME_BYTES: Final = 2 * MAX_PAYLOAD_BYTES


class Refused(Exception):
    """The stream ends with this status; the text is for whoever operates the host."""

    def __init__(self, code: grpc.StatusCode, why: str) -> None:
        super().__init__(why)
        self.code = code


class Forked(Refused):
    """A frame is not the one that is committed in its place, or does not follow from what is."""


class Wire(Protocol):
    """The part of a gRPC call that a stream uses."""

    async def read(self) -> wire.HostMessage | object: ...

    async def write(self, message: wire.CollectorMessage, /) -> None: ...


@dataclass(slots=True)
class IntakeStatistics:
    """Since the start."""

    streams: int = 0
    refused: int = 0
    forks: int = 0
    host_id_in_use: int = 0


async def read_hello(call: Wire) -> wire.Hello:
    """The first message. Raises Refused if it does not come in time, is another one, or cannot be served."""
    try:
        message = await asyncio.wait_for(call.read(), HELLO_DEADLINE_S)
    except TimeoutError:
        raise Refused(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"no hello within {HELLO_DEADLINE_S:g} s of opening the stream"
        ) from None
    if not isinstance(message, wire.HostMessage) or message.WhichOneof("kind") != "hello":
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the first message of a stream must be hello")
    _check_hello(message.hello)
    return message.hello


def _check_hello(hello: wire.Hello) -> None:
    if not 0 < len(hello.host_id) <= _LONGEST_NAME or not hello.host_id.isprintable():
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"host_id must be 1 to {_LONGEST_NAME} printable characters")
    if hello.host_id.startswith(RESERVED_PREFIX):
        raise Refused(
            grpc.StatusCode.PERMISSION_DENIED, f"host ids that begin with {RESERVED_PREFIX} are the collector's own"
        )
    if len(hello.epoch) != EPOCH_BYTES:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"epoch must be {EPOCH_BYTES} bytes")
    if hello.frame_format != FORMAT:
        raise Refused(
            grpc.StatusCode.UNIMPLEMENTED,
            f"frames of format {hello.frame_format} are not known here ({FORMAT} is): upgrade the collector first",
        )


class HostStream:
    """A stream whose hello was accepted."""

    def __init__(
        self,
        call: Wire,
        hello: wire.Hello,
        writer: LedgerWriter,
        budget: Budget,
        rules: Callable[[], RuleNews | None] = lambda: None,
    ) -> None:
        """``rules``: those in force when it is asked."""
        self.stream = StreamId(hello.host_id, hello.epoch)
        self.ended = asyncio.Event()
        """Set by the intake when this host may have another stream."""
        self._call = call
        self._hello, self._rules = hello, rules
        self._rules_to_tell: RuleNews | None = None
        self._writer = writer
        self._budget = budget
        self._replies = Replies()
        self._window = asyncio.Semaphore(WINDOW_FRAMES)
        self._in_flight = 0
        self._next_seq = 1
        self._news = asyncio.Event()
        self._failure: Refused | None = None
        self._last_word = ""
        self._reading = True

    async def run(self) -> None:
        """Until the host says goodbye or ends its side. Raises Refused."""
        await self._welcome()
        reader = asyncio.create_task(self._read())
        try:
            await self._send()
        finally:
            reader.cancel()

    def say_goodbye(self, reason: str) -> None:
        """Takes no more frames; the stream ends when what is in flight is committed and acknowledged."""
        self._last_word = reason
        self._reading = False
        self._news.set()

    def refuse(self, refusal: Refused) -> None:
        """Ends the stream with this status; what was taken before is committed all the same."""
        self._failure = self._failure or refusal
        self._reading = False
        self._news.set()

    def tell_rules(self, rules: RuleNews) -> None:
        """If they are news to this host. Of several that come before one is sent, the last."""
        if rules.is_news_to(self._hello):
            self._rules_to_tell = rules
            self._news.set()

    async def _welcome(self) -> None:
        said = await self._ask(self._hello.first_seq)
        self._next_seq = said.cursor.committed_seq + 1
        rules = self._rules()
        welcome = wire.Welcome(
            ledger_id=self._writer.ledger_id,
            committed_seq=said.cursor.committed_seq,
            head_hash=said.cursor.head_hash,
            window_frames=WINDOW_FRAMES,
            window_bytes=WINDOW_BYTES,
            server_time_ns=time.time_ns(),
            rules_version=rules.version if rules else "",
        )
        await self._call.write(wire.CollectorMessage(welcome=welcome))
        if rules is not None and self._rules_to_tell is None:
            self.tell_rules(rules)
        # Said again, in case the first time did not arrive: the host must not take them for accepted. All of them
        # and before any frame is taken, since a host takes rejections in order and never goes back.
        while said.tombstones and self._reading:
            for seq, reason in said.tombstones:
                await self._call.write(wire.CollectorMessage(reject=wire.Reject(seq=seq, reason=reason)))
            said = await self._ask(said.tombstones[-1][0] + 1)

    async def _ask(self, first_seq: int) -> Welcomed:
        answer: asyncio.Future[Welcomed | LedgerError] = asyncio.get_running_loop().create_future()
        self._writer.open_stream(self.stream, first_seq, lambda said: _settle(answer, said))
        said = await answer
        if isinstance(said, LedgerError):
            raise _unavailable()
        return said

    async def _read(self) -> None:
        try:
            while self._reading:
                await self._window.acquire()
                message = await self._call.read()
                if not isinstance(message, wire.HostMessage) or message.WhichOneof("kind") == "goodbye":
                    break
                await self._take(message)
        except Refused as refusal:
            self._failure = refusal
        except OtherEpoch as error:
            self._failure = Refused(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except Exception as error:
            self._failure = Refused(grpc.StatusCode.INTERNAL, "the collector failed to take a frame")
            _log.error("host %s: a frame could not be taken: %r", self.stream.host_id, error, exc_info=True)
        self._reading = False
        self._news.set()

    async def _take(self, message: wire.HostMessage) -> None:
        if message.WhichOneof("kind") != "frame":
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "after hello come frames and goodbye, nothing else")
        raw = message.frame
        if len(raw) > _LARGEST_FRAME_BYTES:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"a frame of {len(raw)} bytes is none of ours")
        await self._budget.take(len(raw))
        try:
            offer = examine(raw, self.stream, self._next_seq)
        except ValueError:
            self._budget.give(len(raw))
            raise
        self._next_seq = offer.seq + 1
        self._in_flight += 1
        self._writer.offer(offer, lambda said: self._settled(offer, len(raw), said))

    def _settled(self, offer: Offer, size_bytes: int, said: Ruling | LedgerError) -> None:
        self._budget.give(size_bytes)
        # A rejected frame keeps its place in the window until its host was told: no more wait, and none is dropped.
        if isinstance(said, LedgerError) or not said.rejected:
            self._window.release()
        self._in_flight -= 1
        if isinstance(said, LedgerError):
            self._failure = self._failure or _unavailable()
        elif said.verdict is Verdict.FORK:
            self._failure = self._failure or _fork(offer, said)
        else:
            if said.verdict is Verdict.OUT_OF_ORDER:
                self._next_seq = said.through_seq + 1
            self._replies.note(said)
        self._news.set()

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._rules_to_tell is not None:
                rules, self._rules_to_tell = self._rules_to_tell, None
                await self._call.write(rules.message)
            for message in self._replies.take():
                await self._call.write(message)
                if message.HasField("reject"):
                    self._window.release()
            if self._failure is not None:
                raise self._failure
            if not self._reading and not self._in_flight and not self._news.is_set():
                break
        if self._last_word:
            await self._call.write(wire.CollectorMessage(goodbye=wire.Goodbye(reason=self._last_word)))


def _settle(answer: "asyncio.Future[Welcomed | LedgerError]", said: Welcomed | LedgerError) -> None:
    if not answer.done():
        answer.set_result(said)


def _unavailable() -> Refused:
    return Refused(
        grpc.StatusCode.UNAVAILABLE, "the collector cannot write its ledger at the moment: nothing was acknowledged"
    )


def _fork(offer: Offer, ruling: Ruling) -> Forked:
    return Forked(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"fork: frame {offer.seq} of epoch {offer.stream.epoch.hex()} does not follow from what is committed "
        f"(through {ruling.through_seq}); begin a new epoch",
    )
