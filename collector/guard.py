"""What stands around every path of the API: who asks, whether too often, and a durable row before the answer is sent.

Whatever path is added to the API is covered by itself. The row is written when the answer's head is ready: where it
cannot be written, the answer is a 503 that says so, for nobody reads usage unseen.
"""

import asyncio
import logging
import time
from typing import Any, Final

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..storage.access_schema import Access
from ..storage.ledger_folder import LedgerError
from .access_rows import shown_path, shown_query
from .api_parts import Parts
from .limits import network_of
from .problems import Problem, respond
from .tokens import ANYBODY, Caller, find_caller
from .turns import CALLER

_log = logging.getLogger("gputally.access")
OPEN_PATHS: Final = ("/healthz", "/readyz", "/openapi.json")
"""For anybody: they say nothing of usage, are not limited and leave no row."""


class Guard:
    """ASGI middleware. Handlers find the caller in ``request.state.caller`` and may say ``request.state.as_of``."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app, self._parts = app, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        request.state.caller = caller = self._caller(request)
        request.state.as_of = None
        answer = _Answer(request, caller, self._parts, send)
        key = _key(request, caller)
        try:
            with self._parts.limits.taken(key):
                CALLER.set(key)
                await self._app(scope, receive, answer.send)
        except Problem as problem:
            await respond(request, problem)(scope, receive, answer.send)
        except Exception as error:
            await self._failed(request, receive, answer, error)

    def _caller(self, request: Request) -> Caller | None:
        """None: a stranger."""
        tokens = self._parts.tokens
        return ANYBODY if tokens is None else find_caller(request.headers.get("authorization"), tokens)

    async def _failed(self, request: Request, receive: Receive, answer: "_Answer", error: Exception) -> None:
        _log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        if answer.begun:
            raise error  # too late for another status: the connection breaks off
        problem = Problem(500, "internal", "something went wrong here; the collector's log says what")
        await respond(request, problem)(request.scope, receive, answer.send)


class _Answer:
    """One answer on its way out, held until its row is durable."""

    def __init__(self, request: Request, caller: Caller | None, parts: Parts, send: Send) -> None:
        self._request, self._caller, self._parts, self._send = request, caller, parts, send
        self._replaced = False
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            error = await self._written(message["status"])
            if error is not None:
                self._replaced = True
                await respond(self._request, _unseen(self._request, error))(self._request.scope, _nothing, self._send)
        if not self._replaced:
            await self._send(message)

    async def _written(self, status: int) -> LedgerError | None:
        row = self._row(status)
        loop = asyncio.get_running_loop()
        told: asyncio.Future[LedgerError | None] = loop.create_future()

        def done(error: LedgerError | None) -> None:
            loop.call_soon_threadsafe(_settle, told, error)

        self._parts.access.write(row, done)
        error = await told
        _say(row, error)
        return error

    def _row(self, status: int) -> Access:
        request, known, as_of = self._request, self._caller is not None, self._request.state.as_of
        return Access(
            at_ns=time.time_ns(),
            who=self._caller.name if self._caller is not None else "",
            address=request.client.host if request.client else "",
            method=request.method[:20],
            path=shown_path(request.url.path),
            query=shown_query(request.scope["query_string"], self._parts.tokens or ()) if known else "",
            status=status,
            as_of=None if as_of is None else int(as_of),
            in_vain=not known or status == 429,
        )


def _key(request: Request, caller: Caller | None) -> str:
    """What is counted: a token, or an address where there is none. No token's name begins like that of an address."""
    if caller is not None and caller is not ANYBODY:
        return f"token {caller.name}"
    return f"address {network_of(request.client.host if request.client else '')}"


def _unseen(request: Request, error: LedgerError) -> Problem:
    decided = "" if request.method == "GET" else "; what was decided may stand: ask for the list"
    return Problem(503, "access-log", f"nothing is answered that the access log does not hold: {error}{decided}")


def _say(row: Access, error: LedgerError | None) -> None:
    if error is not None:
        _log.error("no row could be written, so no answer was given: %s", error)
    elif not row.who:
        _log.warning("refused %s from %s: %d, no known token", row.path, row.address, row.status)
    else:
        query = f"?{row.query}" if row.query else ""
        _log.info("%s %s %s%s: %d as of %s", row.who, row.method, row.path, query, row.status, row.as_of)


def _settle(told: "asyncio.Future[Any]", error: LedgerError | None) -> None:
    if not told.done():
        told.set_result(error)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
