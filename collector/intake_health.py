"""The standard gRPC health service, for probers that know nothing of us."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from ..proto.v1 import health_pb2 as wire
from ..proto.v1.health_pb2_grpc import HealthServicer

_Status = wire.HealthCheckResponse
SERVICES: Final = ("", "gputally.v1.Uplink")


class Health(HealthServicer):
    """All of us serve or none do."""

    def __init__(self) -> None:
        self._serving = False
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()

    # Any: pyright takes the generated stubs' gputally.proto and our ..proto for two modules.
    async def Check(self, request: Any, context: Any) -> Any:
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return self._response()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        known = request.service in SERVICES
        while True:
            changed = self._changed
            yield self._response() if known else wire.HealthCheckResponse(status=_Status.SERVICE_UNKNOWN)
            await changed.wait()

    def _response(self) -> wire.HealthCheckResponse:
        return wire.HealthCheckResponse(status=_Status.SERVING if self._serving else _Status.NOT_SERVING)
