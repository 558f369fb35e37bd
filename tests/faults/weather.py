"""A TCP link with weather: it cuts, resets, swallows, trickles and delays, as it is told to at the moment."""

import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import trio

_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Closing then sends RST, socket(7)."""
_CHUNK_BYTES: Final = 65_536
_MOST_TRICKLED_BYTES: Final = 3_000
"""What one byte at a time may take; then the rest of the chunk goes at once, or a day would not be enough."""


class Weather(Enum):
    """``SILENT``: both ways everything is swallowed, and nobody is told. ``DEAF``: so is what the collector says."""

    FAIR = "fair"
    CUT = "cut"
    RESET = "reset"
    SILENT = "silent"
    DEAF = "deaf"
    TRICKLE = "trickle"
    DELAY = "delay"


@dataclass(slots=True)
class Connection:
    """What was swallowed on it can never come, so once it is ``lost`` in a direction it stays so."""

    near: trio.SocketStream
    far: trio.SocketStream
    lost: set[bool] = field(default_factory=set[bool])


class Link:
    """From a port of its own to that of a collector. ``weather`` may be changed at any time."""

    def __init__(self, to_port: int, chance: random.Random) -> None:
        self._to_port, self._chance = to_port, chance
        self._connections: list[Connection] = []
        self._weather = Weather.FAIR
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Link"]:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._serve, [listener])
            yield self
            nursery.cancel_scope.cancel()

    @property
    def weather(self) -> Weather:
        return self._weather

    async def turn(self, weather: Weather) -> None:
        """CUT and RESET end the connections there are; SILENT and DEAF swallow what is under way."""
        self._weather = weather
        for connection in list(self._connections):
            if weather in (Weather.CUT, Weather.RESET):
                await self._end(connection)
            elif weather in (Weather.SILENT, Weather.DEAF):
                self._lose(connection)

    async def _serve(self, near: trio.SocketStream) -> None:
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            if self._weather in (Weather.CUT, Weather.RESET):
                _close(near, reset=self._weather is Weather.RESET)
                return
            connection = Connection(near, await trio.open_tcp_stream("127.0.0.1", self._to_port))
            self._lose(connection)
            self._connections.append(connection)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, connection, True)
                nursery.start_soon(self._pump, connection, False)

    def _lose(self, connection: Connection) -> None:
        if self._weather in (Weather.SILENT, Weather.DEAF):
            connection.lost.add(False)
        if self._weather is Weather.SILENT:
            connection.lost.add(True)

    async def _pump(self, connection: Connection, outward: bool) -> None:
        """``outward``: from the host to the collector."""
        source, sink = connection.near, connection.far
        if not outward:
            source, sink = sink, source
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(_CHUNK_BYTES):
                if outward not in connection.lost:
                    await self._pass(data, sink)
            if outward in connection.lost:
                # The news of its end is lost as well, for a while.
                await trio.sleep(self._chance.uniform(0, 1))
        await self._end(connection)

    async def _pass(self, data: bytes, sink: trio.SocketStream) -> None:
        if self._weather is Weather.DELAY:
            await trio.sleep(self._chance.uniform(0.01, 0.2))
        if self._weather is Weather.TRICKLE:
            few, data = data[:_MOST_TRICKLED_BYTES], data[_MOST_TRICKLED_BYTES:]
            for byte in few:
                await sink.send_all(bytes((byte,)))
        if data:
            await sink.send_all(data)

    async def _end(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        for each in (connection.near, connection.far):
            _close(each, reset=self._weather is Weather.RESET)


def _close(stream: trio.SocketStream, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    stream.socket.close()
