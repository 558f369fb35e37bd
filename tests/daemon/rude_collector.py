"""A collector over real gRPC that can be told to misbehave, with a ledger in memory that holds what was said."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from gputally.proto.v1 import uplink_pb2 as wire
from gputally.proto.v1.uplink_pb2_grpc import UplinkServicer, add_UplinkServicer_to_server
from gputally.storage.frame import genesis_hash, read_frame, span_of

Answers = Iterator[wire.CollectorMessage]


def ack(seq: int) -> wire.CollectorMessage:
    return wire.CollectorMessage(ack=wire.Ack(through_seq=seq))


@dataclass
class Manners:
    """What goes wrong. The defaults are good manners."""

    window_frames: int = 16
    window_bytes: int = 1_000_000
    refuse: tuple[grpc.StatusCode, str] | None = None
    mute: bool = False
    """Answers nothing, not even hello."""
    deaf: bool = False
    """Takes frames and never acknowledges."""
    clinging: bool = False
    """Does not end a stream that was left."""
    ack_every: int = 1
    ack_twice: bool = False
    ack_after_s: float = 0.0
    reject: set[int] = field(default_factory=set)
    lose_once: set[int] = field(default_factory=set)
    """Frames that never reach the ledger; the next one is answered Resume."""
    break_after: int | None = None
    """Ends the stream with an error after so many frames."""
    leave_after: int | None = None
    """Says goodbye after so many frames."""
    head_hash: bytes | None = None
    """Of the first epoch that says hello."""
    lies_for_ever: bool = False
    """``head_hash`` is said to every epoch."""
    commit_only: bool = False
    """Commits and breaks the stream before the acknowledgement."""


class Ledger:
    """What was committed, in order, once."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.rejected: dict[int, str] = {}
        self.said = 0
        """Frames that arrived, repetitions counted."""

    @property
    def cursor(self) -> int:
        return span_of(self.frames[-1])[1] if self.frames and self.frames[-1][:1] == b"\x01" else len(self.frames)

    def head(self, hello: wire.Hello) -> bytes:
        if not self.frames:
            return genesis_hash(hello.host_id, hello.epoch)
        return read_frame(self.frames[-1]).chain_hash


class RudeCollector(UplinkServicer):
    """Serves on a free port of loopback; ``stop`` and ``start`` again on the same one."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None, host: str = "localhost") -> None:
        self._host = host
        self.manners = Manners()
        self.ledger = Ledger()
        """Of the first epoch that says hello."""
        self.later: dict[bytes, Ledger] = {}
        """Of the epochs after that, by their id."""
        self.hellos: list[wire.Hello] = []
        self.goodbyes = 0
        self.most_unacknowledged = 0
        self.live = 0
        self._credentials = credentials
        self._released = threading.Event()
        self._server: grpc.Server | None = None
        self.port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"{self._host}:{self.port}"

    def start(self) -> None:
        self._released.clear()
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        add_UplinkServicer_to_server(self, self._server)
        place = f"{self._host}:{self.port}"
        self.port = (
            self._server.add_secure_port(place, self._credentials)
            if self._credentials
            else self._server.add_insecure_port(place)
        )
        assert self.port
        self._server.start()

    def change_credentials(self, credentials: grpc.ServerCredentials) -> None:
        """For the next ``start``."""
        self._credentials = credentials

    def stop(self) -> None:
        self._released.set()
        assert self._server is not None
        self._server.stop(0).wait()

    def Stream(self, request_iterator: Any, context: Any) -> Answers:
        self.live += 1
        try:
            yield from self._stream(request_iterator, context)
        finally:
            self.live -= 1

    def of(self, epoch: bytes) -> Ledger:
        first = epoch == self.hellos[0].epoch
        return self.ledger if first else self.later.setdefault(epoch, Ledger())

    def _stream(self, requests: Iterator[wire.HostMessage], context: grpc.ServicerContext) -> Answers:
        if self.manners.refuse:
            context.abort(*self.manners.refuse)
        hello = next(requests).hello
        self.hellos.append(hello)
        if self.manners.mute:
            self._released.wait(30)
            return
        yield self._welcome(hello)
        for seq, reason in self.of(hello.epoch).rejected.items():
            if seq >= hello.first_seq:
                yield wire.CollectorMessage(reject=wire.Reject(seq=seq, reason=reason))
        yield from self._frames(requests, context)

    def _frames(self, requests: Iterator[wire.HostMessage], context: grpc.ServicerContext) -> Answers:
        unacknowledged = 0
        for count, message in enumerate(requests, 1):
            if message.HasField("goodbye"):
                self.goodbyes += 1
                if self.manners.clinging:
                    self._released.wait(30)
                return
            unacknowledged += 1
            self.most_unacknowledged = max(self.most_unacknowledged, unacknowledged)
            answers = list(self._hear(message.frame))
            if self.manners.commit_only or count == self.manners.break_after:
                context.abort(grpc.StatusCode.UNAVAILABLE, "told to break")
            if not self.manners.deaf and count % self.manners.ack_every == 0:
                time.sleep(self.manners.ack_after_s)
                yield from answers * (2 if self.manners.ack_twice else 1)
                unacknowledged = 0
            if count == self.manners.leave_after:
                yield ack(self.of(self.hellos[-1].epoch).cursor)
                yield wire.CollectorMessage(goodbye=wire.Goodbye(reason="told to leave"))
                return

    def _hear(self, raw: bytes) -> Answers:
        frame = read_frame(raw)
        ledger, seq = self.of(frame.epoch), frame.seq
        ledger.said += 1
        if seq in self.manners.lose_once:
            self.manners.lose_once.discard(seq)
        elif frame.first_seq > ledger.cursor + 1:
            yield wire.CollectorMessage(resume=wire.Resume(next_seq=ledger.cursor + 1))
        else:
            if seq > ledger.cursor:
                ledger.frames.append(raw)
            if seq in self.manners.reject:
                ledger.rejected[seq] = "told to refuse"
                yield wire.CollectorMessage(reject=wire.Reject(seq=seq, reason="told to refuse"))
            yield ack(ledger.cursor)

    def _head(self, hello: wire.Hello) -> bytes:
        told = self.manners.head_hash if hello.epoch == self.hellos[0].epoch or self.manners.lies_for_ever else None
        return told or self.of(hello.epoch).head(hello)

    def _welcome(self, hello: wire.Hello) -> wire.CollectorMessage:
        welcome = wire.Welcome(
            ledger_id="ledger",
            committed_seq=self.of(hello.epoch).cursor,
            head_hash=self._head(hello),
            window_frames=self.manners.window_frames,
            window_bytes=self.manners.window_bytes,
        )
        return wire.CollectorMessage(welcome=welcome)


class Proxy:
    """A TCP link that can be frozen: both ends stay open, and nothing passes."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"localhost:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """For the connections there are and those to come, until ``thaw``."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self._flowing.set()
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to_port))
            except OSError:
                return
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def free_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
