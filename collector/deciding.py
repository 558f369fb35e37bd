"""Making a decision: one more frame of the ledger's own stream, durable and folded before anybody is told.

Decisions are made one after another, so that each is checked against all before it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Final, TypeVar

from ..model.decisions import OWN_HOST_ID, Decided, Decision
from ..proto.convert_decision import encode_decided
from ..storage.frame import EPOCH_BYTES, MAX_PAYLOAD_BYTES, make_frame
from ..storage.ledger_folder import LedgerError
from ..storage.ledger_rules import Cursor, Offer, Ruling, StreamId, Verdict
from ..storage.projection_decisions import last_decided_ns, log_id_of
from ..storage.projection_reader import Snapshot
from .asking import Questions
from .problems import Problem, TryLater
from .writer import LedgerWriter, Welcomed

T = TypeVar("T")
Check = Callable[[Snapshot, Decision], None]
"""Raises Problem for a decision that cannot be taken as things stand."""

_FOLDED_WITHIN_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.01


def own_stream(ledger_id: str) -> StreamId:
    return StreamId(OWN_HOST_ID, sha256(ledger_id.encode()).digest()[:EPOCH_BYTES])


class Decisions:
    """For the event loop."""

    def __init__(self, writer: LedgerWriter, questions: Questions, log_end: Callable[[], int]) -> None:
        """``log_end`` says the last log id there is; it is asked in a thread."""
        self._writer, self._questions, self._log_end = writer, questions, log_end
        self._stream = own_stream(writer.ledger_id)
        self._turn = asyncio.Lock()
        self._last_ns = 0
        self._through: int | None = None
        """The log's end behind the last decision; None: not known, as at the start or after a failed commit."""
        self.on_made: Callable[[Decision], Awaitable[None]] = _nothing
        """Called with each that is in force, before whoever made it is told."""

    async def make(self, what: Decision, by: str, why: str, check: Check) -> int:
        """Its log id, once it is in force. Raises Problem: 503 where it is not known whether it was made."""
        async with self._turn:
            log_id = await self._decide(what, by, why, check)
            if log_id is None:
                raise Problem(409, "sealed", "the time it is about was sealed before it: it holds nothing")
            await self.on_made(what)
            return log_id

    async def try_to(self, what: Decision, by: str, why: str, check: Check) -> int | None:
        """As ``make``, for what may turn out to be without effect when it is folded: then None."""
        async with self._turn:
            return await self._decide(what, by, why, check)

    async def _decide(self, what: Decision, by: str, why: str, check: Check) -> int | None:
        await self._check(what, check)
        at_ns = await self._make(what, by, why)
        try:
            return await self._folded(await self._end(), lambda seen: log_id_of(seen, type(what), at_ns))
        except TimeoutError:
            told = "it is decided and durable, but not in force yet: ask for the list in a while"
            raise Problem(503, "not-folded", told) from None

    async def _check(self, what: Decision, check: Check) -> None:
        """Against all decisions before it: also one that was not in force yet when its maker was told so."""
        try:
            last_ns = await self._folded(await self._end(), lambda seen: _checked(seen, what, check))
        except TimeoutError:
            told = "nothing was decided, since what was decided before is not in force yet"
            raise TryLater(503, "not-folded", told, 10) from None
        self._last_ns = max(last_ns, self._last_ns)

    async def _make(self, what: Decision, by: str, why: str) -> int:
        """When it was made; it is durable then."""
        # Later than any before: what was decided when is told apart by it, whatever the clock does.
        at_ns = self._last_ns = max(time.time_ns(), self._last_ns + 1)
        self._through = None
        await self._commit(encode_decided(Decided(by, at_ns, why, what)))
        return at_ns

    async def _end(self) -> int:
        """The last decision of all is at it or before."""
        if self._through is None:
            self._through = await asyncio.to_thread(self._log_end)
        return self._through

    async def _commit(self, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise Problem(400, "too-large", f"{len(payload)} bytes are too much for one decision: make several")
        cursor = await self._cursor()
        frame = make_frame(self._stream.epoch, cursor.committed_seq + 1, cursor.head_hash, 0, payload)
        raw = frame.to_bytes()
        answer: asyncio.Future[Ruling | LedgerError] = asyncio.get_running_loop().create_future()
        offer = Offer(self._stream, frame.seq, frame.previous_hash, sha256(raw).digest(), raw)
        self._writer.offer(offer, lambda said: _settle(answer, said))
        said = await answer
        if isinstance(said, LedgerError) or said.verdict is not Verdict.COMMITTED:
            raise Problem(503, "ledger", f"whether it was decided is not known, ask for the list: {said}")

    async def _cursor(self) -> Cursor:
        """Asked each time: what a commit that failed has left is known to the ledger only."""
        answer: asyncio.Future[Welcomed | LedgerError] = asyncio.get_running_loop().create_future()
        self._writer.open_stream(self._stream, 1, lambda said: _settle(answer, said))
        said = await answer
        if isinstance(said, LedgerError):
            raise Problem(503, "ledger", str(said))
        return said.cursor

    async def _folded(self, through: int, look: Callable[[Snapshot], T]) -> T:
        """What ``look`` sees once that log entry is folded. Raises TimeoutError, and whatever ``look`` raises."""
        deadline = asyncio.get_running_loop().time() + _FOLDED_WITHIN_S
        while asyncio.get_running_loop().time() < deadline:
            # Where many ask, it takes longer: what is decided already cannot be told to have been refused.
            with suppress(TryLater):
                found = await self._questions.ask(lambda seen: (look(seen),) if seen.position >= through else None)
                if found is not None:
                    return found[0]
            await asyncio.sleep(_LOOK_EVERY_S)
        raise TimeoutError


async def _nothing(_: Decision) -> None:
    """Nobody wants to know."""


def _checked(seen: Snapshot, what: Decision, check: Check) -> int:
    check(seen, what)
    return last_decided_ns(seen)


def _settle(answer: "asyncio.Future[T]", said: T) -> None:
    if not answer.done():
        answer.set_result(said)
