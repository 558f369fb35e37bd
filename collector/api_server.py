"""The HTTP API's server: uvicorn, inside the intake's own loop, leaving signals to the collector."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Generator

import uvicorn
from fastapi import FastAPI

from ..model.endpoint import Endpoint, parse_endpoint
from .config import ApiConfig
from .intake import cannot_listen

# What it says at each start is said better by our own ready line.
logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """The collector hears signals, and stops its parts in order."""
        yield


class ApiServer:
    """``listen`` first, so that a taken port is known before anything else starts; then ``start``."""

    def __init__(self, config: ApiConfig) -> None:
        self._wanted = parse_endpoint(config.listen, lowest_port=0)
        self._socket = socket.socket(socket.AF_INET6 if ":" in self._wanted.host else socket.AF_INET)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> Endpoint:
        """Where it listens. Raises CannotStart."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((self._wanted.host, self._wanted.port))
            self._socket.listen(1024)
        except OSError as error:
            self._socket.close()
            raise cannot_listen("api.listen", self._wanted, error) from None
        return Endpoint(self._wanted.host, self._socket.getsockname()[1])

    def start(self, app: FastAPI) -> None:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=512,
            timeout_graceful_shutdown=2,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve([self._socket]))

    async def stop(self) -> None:
        """Answers what was asked, then closes."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        self._socket.close()
