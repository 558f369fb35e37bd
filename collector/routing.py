"""How a path becomes a question: who may ask, which parameters there are, and what of it is written down.

Each subject of the API is a file that adds its paths here (``routes_*.py``); the rules that hold for all of them
stand in this one.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ..storage.projection_reader import Snapshot
from .api_parts import Parts
from .parameters import take_all
from .problems import Problem
from .tokens import ANYBODY, Caller, Role, find_caller

_access = logging.getLogger("gputally.access")

Json = dict[str, Any]
Told = Mapping[str, str]
"""Parameters by name, each known and given once."""
Answer = Callable[[Snapshot, Told, Caller, str], Json]
"""From a snapshot, the parameters, who asks and the path. The answer says ``as_of``."""

RANGE: Final = ("range_from", "range_to")
PAGE: Final = ("offset", "limit")


class Routes:
    """What adds paths to the API."""

    def __init__(self, app: FastAPI, parts: Parts) -> None:
        self.app, self.parts = app, parts

    def get(
        self,
        path: str,
        parameters: Sequence[str],
        answer: Answer,
        *,
        tenants: bool = True,
        required: Sequence[str] = RANGE,
    ) -> None:
        """``tenants``: whether they may ask it at all; what they are told of is the answer's to limit."""

        async def handle(request: Request) -> JSONResponse:
            who = self.caller(request)
            if not tenants:
                whole_site_only(who)
            told = take_all(request.query_params.multi_items(), parameters)
            body = await self.parts.questions.ask(lambda seen: answer(seen, told, who, path))
            self.note(who, request, body["as_of"])
            return JSONResponse(body)

        self.add(path, parameters, handle, required)

    def add(self, path: str, parameters: Sequence[str], handle: Callable[..., object], required: Sequence[str]) -> None:
        """A GET of its own kind, with its parameters described."""
        described = [
            {"name": name, "in": "query", "required": name in required, "schema": {"type": "string"}}
            for name in parameters
        ]
        more = {"parameters": described}
        self.app.add_api_route(path, handle, methods=["GET"], openapi_extra=more, name=path)

    def note(self, who: Caller, request: Request, as_of: object) -> None:
        """In the access log: who asked what, and of which version of the ledger the answer is."""
        _access.info("%s %s %s as of %s", who.name, request.method, request.url, as_of)

    def caller(self, request: Request) -> Caller:
        """Raises Problem (401)."""
        tokens = self.parts.tokens
        if tokens is None:
            return ANYBODY
        caller = find_caller(request.headers.get("authorization"), tokens)
        if caller is None:
            client = request.client and request.client.host
            _access.warning("refused %s from %s: no known token", request.url.path, client)
            raise Problem(401, "no-token", "give a token of api.tokens: Authorization: Bearer TOKEN")
        return caller


def whole_site_only(who: Caller) -> None:
    """Raises Problem (403)."""
    if who.role is Role.TENANT:
        raise Problem(403, "not-for-tenants", "this speaks of hosts, which are not a tenant's to see: ask /v1/usage")


def operators_only(who: Caller) -> None:
    """Raises Problem (403)."""
    if who.role is not Role.OPERATOR:
        raise Problem(403, "operators-only", "this decides something: it takes a token of role operator")
