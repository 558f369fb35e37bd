"""The OpenAPI document: what FastAPI knows of the routes, and what holds for all of them.

Every path that is added anywhere gets its problems, its authentication and its path parameters from here.
"""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .guard import OPEN_PATHS
from .openapi_parameters import TEXT
from .problems import MEDIA_TYPE

Json = dict[str, Any]
_ANYWHERE: Final = {
    400: "A parameter, or the body, that cannot be taken; `detail` says what to write instead",
    401: "No known token",
    403: "Not for this role",
    404: "Nothing is there",
    409: "Not as things stand",
    413: "The body is too large",
    429: "Too often, or too much at once, for one caller",
    503: "Not now: too many ask, or the disk is full",
    507: "The temporary folder has no room to make it in",
}
_ONLY_WITH_BODY: Final = {413}
_ONLY_SPOOLED: Final = {507}
_SPOOLED: Final = ("/v1/export/", "/v1/periods/", "/v1/explain")
"""What these answer is made in a temporary file, or sorted in one."""
_PROBLEM: Final[Json] = {
    "type": "object",
    "description": "RFC 9457; further members by type",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:gputally:problem:[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "parameter": {"type": "string", "description": "of a 400: which one is at fault"},
        "log_ids": {
            "type": "array",
            "items": {"type": "string"},
            "description": "of a correction that was made in part: what stands",
        },
    },
}
_AS_OF: Final[Json] = {"type": "string", "pattern": "^[0-9]+$", "description": "the version of the ledger"}
_LOG_ID: Final[Json] = {"type": "string", "pattern": "^[0-9]+$", "description": "where in the ledger it stands"}
_ANSWER: Final[Json] = {"type": "object", "required": ["as_of"], "properties": {"as_of": _AS_OF}}
_DECIDED: Final[Json] = {
    "type": "object",
    "properties": {"log_id": _LOG_ID, "log_ids": {"type": "array", "items": _LOG_ID}},
}


def document(app: FastAPI) -> Json:
    """Made once, then kept."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components = made.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = _PROBLEM
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in made["paths"].items():
            for method, operation in methods.items():
                _complete(path, method, operation)
        app.openapi_schema = made
    return app.openapi_schema


def _complete(path: str, method: str, operation: Json) -> None:
    _add_path_parameters(path, operation)
    if path in OPEN_PATHS:
        if path == "/readyz":
            operation["responses"]["503"] = {**operation["responses"]["200"], "description": "Not ready, and why"}
        return
    operation["security"] = [{"token": []}]
    responses = operation["responses"]
    answered = responses["201" if method == "post" else "200"]
    answered["content"] = _told(answered) or {"application/json": {"schema": _DECIDED if method == "post" else _ANSWER}}
    for status, description in _ANYWHERE.items():
        if _can_be(status, path, method):
            responses[str(status)] = _problem(status, description)


def _told(answered: Json) -> Json:
    """What a route said of its answers itself; the empty schema that FastAPI puts there says nothing."""
    return {media: told for media, told in answered.get("content", {}).items() if told.get("schema")}


def _can_be(status: int, path: str, method: str) -> bool:
    if status in _ONLY_WITH_BODY:
        return method == "post"
    return status not in _ONLY_SPOOLED or path.startswith(_SPOOLED)


def _problem(status: int, description: str) -> Json:
    told: Json = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status == 429:
        told["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "in seconds"}}
    return told


def _add_path_parameters(path: str, operation: Json) -> None:
    """Handlers read the path themselves, so FastAPI does not see what is in braces."""
    told = operation.get("parameters", [])
    known = {each["name"] for each in told if each["in"] == "path"}
    for name in (part[1:-1].partition(":")[0] for part in path.split("/") if part.startswith("{")):
        if name not in known:
            operation["parameters"] = told = [*told, {"name": name, "in": "path", "required": True, "schema": TEXT}]
