"""One stream of one simulated host, on asyncio. Raises grpc's errors as they come; who dials again decides on them."""

import asyncio
from typing import Any, Final, cast

import grpc
import grpc.aio

from ...daemon.uplink_session import Pace
from ...proto.v1 import uplink_pb2 as wire
from ...proto.v1.uplink_pb2_grpc import UplinkStub
from ...storage.frame import FORMAT, Frame
from .dial import Target
from .host_log import HostLog
from .tally import Tally

PACE: Final = Pace()
"""A daemon's: for so long it waits for an answer, and so do we."""
_MOST_ON_WIRE: Final = 32
"""Of one host: what thousands of hosts hold in memory is a multiple of it."""


class Broken(Exception):
    """The stream ended, or does not get on; another may do better."""


class Session:
    """From Hello to goodbye. Not used again once a call of it has raised."""

    def __init__(self, target: Target, log: HostLog, tally: Tally) -> None:
        self._log, self._tally = log, tally
        self._channel = target.channel(log.host_id)
        # Any: pyright takes the generated stubs' gputally.proto and our ..proto for two modules.
        self._call: Any = cast(Any, UplinkStub(self._channel)).Stream()
        self._window_frames = 1
        self.is_open = False

    async def open(self) -> list[Frame]:
        """Hello and welcome. Returns the frames of which we learn now that they are committed."""
        hello = wire.Hello(
            host_id=self._log.host_id,
            epoch=self._log.epoch,
            frame_format=FORMAT,
            first_seq=1,
            last_seq=self._log.acked_seq + self._log.on_wire_frames,
            daemon_version="simulator",
        )
        welcome = (await self._greet(hello)).welcome
        self.is_open = True
        self._tally.open()
        self._window_frames = min(max(welcome.window_frames, 1), _MOST_ON_WIRE)
        return self._log.begin_again(welcome.committed_seq)

    @property
    def has_room(self) -> bool:
        return self._log.on_wire_frames < self._window_frames

    async def say(self, frame: Frame) -> None:
        await self._call.write(wire.HostMessage(frame=frame.to_bytes()))
        self._tally.frames_sent += 1
        self._tally.records_sent += frame.record_count

    async def hear(self) -> list[Frame]:
        """What the next answer acknowledges."""
        message = await self._hear(PACE.ack_s)
        kind = message.WhichOneof("kind")
        if kind == "ack":
            return self._log.acknowledge(message.ack.through_seq)
        if kind == "reject":
            self._tally.rejected += 1
            return self._log.acknowledge(message.reject.seq)
        raise Broken(f"the collector said {kind}")

    async def leave(self) -> None:
        """Goodbye, if there is anybody to hear it."""
        await self._call.write(wire.HostMessage(goodbye=wire.Goodbye(reason="simulated")))
        await self._call.done_writing()
        await asyncio.wait_for(self._call.read(), PACE.goodbye_s)

    async def close(self) -> None:
        """Always called last; never raises what the network does."""
        if self.is_open:
            self._tally.streams -= 1
            self.is_open = False
        self._call.cancel()
        await self._channel.close()

    async def _greet(self, hello: wire.Hello) -> wire.CollectorMessage:
        try:
            async with asyncio.timeout(PACE.welcome_s):
                await self._call.write(wire.HostMessage(hello=hello))
                return await self._hear(PACE.welcome_s)
        except TimeoutError:
            raise Broken(f"no stream within {PACE.welcome_s:g} s") from None

    async def _hear(self, within_s: float) -> wire.CollectorMessage:
        try:
            message = await asyncio.wait_for(self._call.read(), within_s)
        except TimeoutError:
            raise Broken(f"nothing heard for {within_s:g} s") from None
        if message is grpc.aio.EOF:
            code = await self._call.code()
            if code is not grpc.StatusCode.OK:
                raise grpc.aio.AioRpcError(
                    code,
                    await self._call.initial_metadata(),
                    await self._call.trailing_metadata(),
                    await self._call.details(),
                )
            raise Broken("the collector ended the stream")
        return cast(wire.CollectorMessage, message)
