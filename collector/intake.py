"""The hosts' door: a gRPC server whose streams end in the ledger."""

import asyncio
import contextlib
import errno
import logging
import socket
from typing import Any, Final

import grpc
import grpc.aio

from ..model.endpoint import Endpoint, parse_endpoint
from ..model.exits import Exit
from ..proto.v1 import health_pb2_grpc, reflection_pb2_grpc, uplink_pb2_grpc
from ..proto.v1.uplink_pb2 import Hello
from .budget import Budget
from .config import IntakeConfig
from .doubles import Doubles
from .identity_rule import Auth
from .intake_credentials import IntakeCredentials
from .intake_health import Health
from .intake_reflection import Reflection
from .intake_stream import Forked, HostStream, IntakeStatistics, Refused, read_hello
from .refusal import CannotStart
from .repeats import Repeats
from .writer import LedgerWriter

_log = logging.getLogger(__name__)
_IN_FLIGHT_BYTES: Final = 64 * 1024 * 1024
_HOST_ID_GRACE_S: Final = 2.0
_LOOK_EVERY_S: Final = 10.0
"""Whoever is revoked loses a live stream within this time."""
_PING_S: Final = 10
_PING_TIMEOUT_S: Final = 5
"""A host that vanished without closing its connection gives its name free after these two."""
_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", 1024 * 1024),
    ("grpc.so_reuseport", 0),  # a second collector on the same port must be refused, not share it
    ("grpc.keepalive_time_ms", _PING_S * 1000),
    ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_S * 1000),
    ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_S * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 4_000),
    ("grpc.max_concurrent_streams", 16),  # of one connection
    # Thousands of hosts may come back in the same second after an outage.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
)


class Intake(uplink_pb2_grpc.UplinkServicer):
    """Serves the hosts' streams; one live stream for each host."""

    def __init__(self, writer: LedgerWriter, credentials: IntakeCredentials | None) -> None:
        """``credentials``: peers have certificates, and these decide whose stream they may write."""
        self.statistics = IntakeStatistics()
        self.credentials = credentials
        self.doubles = Doubles()
        self._writer = writer
        self._budget = Budget(_IN_FLIGHT_BYTES)
        self._live: dict[str, HostStream] = {}
        self._auth: dict[str, Auth] = {}
        self._stopping = False
        self._repeats = Repeats()

    @property
    def live_hosts(self) -> set[str]:
        return set(self._live)

    async def Stream(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """Called by gRPC for each stream."""
        who = _address(context.peer())
        try:
            hello = await read_hello(context)
            who = hello.host_id
            await self._serve(context, hello)
        except Refused as refusal:
            self._count(who, refusal)
            if self._repeats.is_news(who, f"{refusal.code.name} {refusal}"):
                _log.error(
                    "stream of %s from %s refused (%s): %s; said again when that changes, or after an hour",
                    who,
                    context.peer(),
                    refusal.code.name,
                    refusal,
                )
            await context.abort(refusal.code, str(refusal))

    def _count(self, who: str, refusal: Refused) -> None:
        self.statistics.refused += 1
        self.statistics.forks += refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        if isinstance(refusal, Forked):
            self.doubles.forked(who)
        elif refusal.code is grpc.StatusCode.ALREADY_EXISTS:
            self.statistics.host_id_in_use += 1
            self.doubles.in_use(who)

    async def _serve(self, context: Any, hello: Hello) -> None:
        auth: Auth = context.auth_context()
        if self.credentials is not None:
            self.credentials.check(hello.host_id, auth)
        stream = HostStream(context, hello, self._writer, self._budget)
        await self._claim(stream)
        self._auth[hello.host_id] = auth
        self.statistics.streams += 1
        self.doubles.opened(hello.host_id, hello.epoch)
        try:
            await stream.run()
        finally:
            del self._live[hello.host_id], self._auth[hello.host_id]
            stream.ended.set()

    async def _claim(self, stream: HostStream) -> None:
        """Two lives under one name are two machines with one identity. Raises Refused.

        A daemon that was killed and is back may be faster than the news of its end: so wait a moment.
        """
        host_id = stream.stream.host_id
        deadline = asyncio.get_running_loop().time() + _HOST_ID_GRACE_S
        while other := self._live.get(host_id):
            left_s = deadline - asyncio.get_running_loop().time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(other.ended.wait(), left_s)
            if not other.ended.is_set():
                raise Refused(
                    grpc.StatusCode.ALREADY_EXISTS,
                    f"HostIdInUse: {host_id} has a live stream already: two hosts with one id, or a cloned machine id",
                )
        if self._stopping:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the collector is stopping")
        self._live[host_id] = stream

    def check_again(self) -> None:
        """Ends the streams of those who were revoked since they came."""
        if self.credentials is None:
            return
        for host_id, auth in self._auth.items():
            try:
                self.credentials.check_again(host_id, auth)
            except Refused as refusal:
                self._live[host_id].refuse(refusal)

    async def say_goodbye(self, deadline_s: float) -> None:
        """Every stream is told, acknowledged what it sent, and ended; returns when they are, or at the deadline."""
        self._stopping = True
        streams = list(self._live.values())
        for stream in streams:
            stream.say_goodbye("the collector is stopping")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(stream.ended.wait() for stream in streams)), deadline_s)


class IntakeServer:
    """The gRPC server around an Intake, with the standard health service."""

    def __init__(self, intake: Intake, config: IntakeConfig) -> None:
        self._intake = intake
        self._config = config
        self._server = grpc.aio.server(options=_OPTIONS)
        self._health = Health()
        self._watch: asyncio.Task[None] | None = None
        uplink_pb2_grpc.add_UplinkServicer_to_server(intake, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.reflection:
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(Reflection(), self._server)

    async def start(self) -> Endpoint:
        """Where it listens. Raises CannotStart."""
        wanted = parse_endpoint(self._config.listen, lowest_port=0)
        _probe(wanted)
        try:
            port = self._add_port(str(wanted))
        except RuntimeError:
            raise CannotStart(
                Exit.UNAVAILABLE, f"intake.listen = {wanted}: cannot listen there: is another program using it?"
            ) from None
        await self._server.start()
        self._health.set_serving(True)
        if self._intake.credentials is not None:
            self._watch = asyncio.create_task(self._watch_credentials(self._intake.credentials))
        return Endpoint(wanted.host, port)

    async def stop(self, deadline_s: float) -> None:
        """Goodbye to every stream, then nothing more."""
        self._health.set_serving(False)
        if self._watch is not None:
            self._watch.cancel()
        await self._intake.say_goodbye(deadline_s)
        await self._server.stop(grace=1.0)

    def _add_port(self, address: str) -> int:
        if self._intake.credentials is not None:
            return self._server.add_secure_port(address, self._intake.credentials.for_server())
        if not parse_endpoint(address, lowest_port=0).is_loopback:
            raise CannotStart(Exit.CONFIG, f"intake.listen = {address}: without TLS only on loopback")
        return self._server.add_insecure_port(address)

    async def _watch_credentials(self, credentials: IntakeCredentials) -> None:
        """New connections find changed files by themselves; this is for live streams and for the operator."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await asyncio.to_thread(credentials.look)
                self._intake.check_again()
            except Exception:
                _log.exception("the TLS files could not be looked at")


def _address(peer: str) -> str:
    """Without the port, which is another at each attempt."""
    return peer.rpartition(":")[0] or peer


def _probe(wanted: Endpoint) -> None:
    """gRPC does not say why it cannot listen; the kernel does. Raises CannotStart."""
    family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((wanted.host, wanted.port))
    except OSError as error:
        raise cannot_listen("intake.listen", wanted, error) from None


def cannot_listen(key: str, wanted: Endpoint, error: OSError) -> CannotStart:
    """Why an address cannot be had, with its key and the cure."""
    cure = "stop the program that uses it, or choose another port"
    if error.errno != errno.EADDRINUSE:
        cure = "choose an address of this host and a port this user may use"
    return CannotStart(Exit.UNAVAILABLE, f"{key} = {wanted}: {error.strerror}: {cure}")
