"""How a path becomes a question: who may ask, which parameters there are, and what of it is written down.

Each subject of the API is a file that adds its paths here (``routes_*.py``); the rules that hold for all of them
stand in this one.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from ..storage.projection_reader import Snapshot
from .api_parts import Parts
from .openapi_parameters import described
from .parameters import take_all
from .problems import Problem
from .tokens import Caller, Role

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
        schemas: Mapping[str, Json] | None = None,
        says: Json | None = None,
    ) -> None:
        """``tenants``: whether they may ask it at all; what they are told of is the answer's to limit.

        What the path names in braces is among the parameters, under that name.
        ``schemas``: of parameters that are not what their name says elsewhere; ``says``: the schema of the answer.
        """

        async def handle(request: Request) -> JSONResponse:
            who = self.caller(request)
            if not tenants:
                whole_site_only(who)
            told = {**take_all(request.query_params.multi_items(), parameters), **request.path_params}
            body = await self.parts.questions.ask(lambda seen: answer(seen, told, who, path))
            self.note(who, request, body["as_of"])
            return JSONResponse(body)

        extra: Json = {"parameters": described(parameters, required, schemas or {})}
        if says is not None:
            extra["responses"] = {"200": {"content": {"application/json": {"schema": says}}}}
        self.app.add_api_route(path, handle, methods=["GET"], openapi_extra=extra, name=path)

    def add(
        self,
        path: str,
        parameters: Sequence[str],
        handle: Callable[[Request], Awaitable[Response]],
        required: Sequence[str],
    ) -> None:
        """A GET of its own kind, with its parameters described."""
        extra: Json = {"parameters": described(parameters, required, {})}
        self.app.add_api_route(path, handle, methods=["GET"], openapi_extra=extra, name=path, response_model=None)

    def post(self, path: str, handle: Callable[[Request], Awaitable[Response]], body: Json) -> None:
        """A path at which something is decided; ``body`` is its JSON Schema. The handler asks who it is."""
        extra: Json = {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}
        self.app.add_api_route(
            path, handle, methods=["POST"], status_code=201, openapi_extra=extra, name=f"POST {path}",
            response_class=JSONResponse, response_model=None,
        )  # fmt: skip

    def note(self, who: Caller, request: Request, as_of: object) -> None:
        """For the access log, whose row is written before the answer is sent: of which version of the ledger it is."""
        request.state.as_of = int(str(as_of))

    def caller(self, request: Request) -> Caller:
        """Raises Problem (401)."""
        caller: Caller | None = request.state.caller
        if caller is None:
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
