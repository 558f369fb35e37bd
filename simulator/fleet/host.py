"""One simulated host: when it says what, and what it does when it cannot."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final

import grpc
import grpc.aio

from ...daemon.config import MeteringConfig, SamplingConfig
from ...daemon.sampler import make_cadence
from ...daemon.uplink_channel import trouble_of
from ...daemon.uplink_retry import Backoff
from ...model.interval import NS_PER_S
from ...storage.frame import Frame
from .dial import Target
from .host_log import HostLog
from .plan import FleetPlan
from .session import PACE, Broken, Session
from .tally import Tally

_FINAL: Final = frozenset(
    {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Another try would hear the same."""
_ROUNDING_S: Final = 1e-3


@dataclass(slots=True)
class Crew:
    """What the hosts of one process have in common."""

    plan: FleetPlan
    target: Target
    live: bool
    """Windows close as time goes by; else all of them have, and are a backlog."""
    linger_s: float
    """How long an idle stream stays open (uplink.linger_s); at most a day."""
    places: asyncio.Semaphore
    """How many may have a stream at once."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tally: Tally = field(default_factory=Tally)


class SimulatedDaemon:
    """Says its whole log, or as much as there is before ``stop``."""

    def __init__(self, crew: Crew, host: int) -> None:
        self.host = host
        self._crew, self._plan, self._tally = crew, crew.plan, crew.tally
        self.log = HostLog(crew.plan, host)
        self._backoff = Backoff(PACE.first_retry_s, PACE.longest_retry_s, random.Random())
        self._session: Session | None = None
        metering = MeteringConfig(window_s=crew.plan.window_ns // NS_PER_S)
        self._after_edge_s = make_cadence(SamplingConfig(), metering).after_edge_s if crew.live else 0.0

    async def run(self) -> None:
        """Until all is acknowledged, it is refused for good, or the fleet is stopped."""
        try:
            while self.log.acked_seq < self._plan.windows and not self._crew.stop.is_set():
                await self._wait_for_a_window()
                async with self._crew.places:
                    await self._deliver()
                    await self._linger()
                    await self._close()
            self._tally.hosts_done += self.log.acked_seq == self._plan.windows
        except grpc.aio.AioRpcError as refusal:
            self._tally.note_refusal(f"{refusal.code().name.lower()}: {refusal.details()}")
        except ValueError as lie:
            self._tally.note_refusal(str(lie))
        finally:
            await self._close()

    async def _deliver(self) -> None:
        """All that is closed by now, over as many streams as it takes. Raises AioRpcError for a final refusal."""
        while self._owes() and not self._crew.stop.is_set():
            try:
                await self._say_all(self._session or await self._connect())
                self._backoff.reset()
            except (grpc.aio.AioRpcError, Broken, asyncio.InvalidStateError) as error:
                await self._close()
                if isinstance(error, grpc.aio.AioRpcError) and error.code() in _FINAL:
                    raise
                self._tally.note_trouble(_why(error))
                await self._rest(self._backoff.next_s())

    async def _connect(self) -> Session:
        self._session = session = Session(self._crew.target, self.log, self._tally)
        self._count(await session.open())
        return session

    async def _say_all(self, session: Session) -> None:
        """When the fleet is stopped nothing more is said, but what was is waited for."""
        while True:
            while session.has_room and not self._crew.stop.is_set():
                frame = self.log.take(self._closed_seq())
                if frame is None:
                    break
                await session.say(frame)
            if not self.log.on_wire_frames:
                return
            self._count(await session.hear())

    def _owes(self) -> bool:
        return self.log.acked_seq < self._closed_seq()

    def _closed_seq(self) -> int:
        """Of the newest window that has ended and was looked at since."""
        if not self._crew.live:
            return self._plan.windows
        since_ns = time.time_ns() - self._plan.start_ns - round(self._after_edge_s * NS_PER_S)
        return min(max(since_ns // self._plan.window_ns, 0), self._plan.windows)

    def _count(self, acked: list[Frame]) -> None:
        now_ns = time.time_ns()
        for frame in acked:
            self._tally.frames += 1
            self._tally.records += frame.record_count
            if self._crew.live:
                self._tally.note_delay(now_ns - self._plan.start_ns - frame.seq * self._plan.window_ns)

    async def _wait_for_a_window(self) -> None:
        self.log.prepare()
        if self._crew.live and not self._owes():
            await self._rest(self._until_next_s())

    def _until_next_s(self) -> float:
        due_ns = self._plan.start_ns + (self.log.acked_seq + 1) * self._plan.window_ns
        return (due_ns - time.time_ns()) / NS_PER_S + self._after_edge_s + _ROUNDING_S

    async def _linger(self) -> None:
        """As a daemon does: the next window may end within this time, and goes the same way."""
        until_s = time.monotonic() + self._crew.linger_s
        while self._session is not None and time.monotonic() < until_s and not self._crew.stop.is_set():
            left_s = until_s - time.monotonic()
            has_more = self.log.acked_seq < self._plan.windows
            await self._rest(min(self._until_next_s(), left_s) if has_more else left_s)
            if self._owes():
                await self._deliver()
                until_s = time.monotonic() + self._crew.linger_s

    async def _rest(self, length_s: float) -> None:
        """Or less, if the fleet is stopped."""
        if length_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._crew.stop.wait(), length_s)

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            if session.is_open and not self.log.on_wire_frames:
                await _quietly(session.leave())
            await session.close()


async def _quietly(leaving: Awaitable[None]) -> None:
    """What goes wrong with a goodbye costs nothing."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
        await leaving


def _why(error: Exception) -> str:
    return trouble_of(error).why if isinstance(error, grpc.aio.AioRpcError) else str(error) or type(error).__name__
