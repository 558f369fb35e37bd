"""Whatever is raised below becomes problem details (RFC 9457): a status, a type, and what to do instead."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from ..storage.ledger_folder import LedgerError
from ..storage.sorted_spool import NoRoom
from .problems import Problem, respond

_log = logging.getLogger(__name__)
_Translate = Callable[[Request, Exception], Problem]


def add_problems(app: FastAPI) -> None:
    """But for what nobody expected, which the guard around all paths answers with 500."""
    handlers: dict[type[Exception], _Translate] = {
        Problem: _itself,
        HTTPException: partial(_http, app),
        LedgerError: lambda _, error: Problem(503, "ledger", str(error)),
        NoRoom: lambda _, error: Problem(507, "no-room", str(error)),
    }
    for kind, translate in handlers.items():
        app.add_exception_handler(kind, _handler(translate))


def known_routes(app: FastAPI) -> list[APIRoute]:
    return [route for route in app.routes if isinstance(route, APIRoute)]


def _handler(translate: _Translate) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        problem = translate(request, error)
        if problem.status >= 500:
            _log.error("%s %s: %s", request.method, request.url.path, error)
        return respond(request, problem)

    return handle


def _itself(_: Request, error: Exception) -> Problem:
    assert isinstance(error, Problem)
    return error


def _http(app: FastAPI, request: Request, error: Exception) -> Problem:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        paths = sorted({route.path for route in known_routes(app)})
        return Problem(404, "no-such-page", f"known are {', '.join(paths)}")
    if error.status_code != 405:
        return Problem(error.status_code, "bad-request", str(error.detail))
    allowed = sorted(_methods_at(app, request.url.path))
    problem = Problem(405, "no-such-method", f"this path knows {', '.join(allowed)}")
    problem.headers = {"Allow": ", ".join(allowed)}
    return problem


def _methods_at(app: FastAPI, path: str) -> set[str]:
    """Of all routes there: each of them knows its own methods only."""
    return {method for route in known_routes(app) if route.path_regex.match(path) for method in route.methods or ()}
