"""Stands between a host and a collector and speaks gRPC to both, but tells the host acknowledgements as it likes."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc

from gputally.proto.v1 import uplink_pb2 as wire
from gputally.proto.v1.uplink_pb2_grpc import UplinkServicer, UplinkStub, add_UplinkServicer_to_server

_THREADS: Final = 64
_FAR_FROM_IT: Final = (("grpc.use_local_subchannel_pool", 1),)


class Gossip(UplinkServicer):
    """``unfair``: the likelihood that an acknowledgement is lost, told twice, or told after the next one."""

    def __init__(self, to_port: int, chance: random.Random) -> None:
        self._to, self._chance = f"127.0.0.1:{to_port}", chance
        self.unfair: dict[str, float] = {}
        """By host id; 0 unless it is there."""
        self.told = dict.fromkeys(("lost", "twice", "late"), 0)
        self._server = grpc.server(ThreadPoolExecutor(_THREADS), options=[("grpc.so_reuseport", 0)])
        add_UplinkServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def Stream(self, request_iterator: Any, context: Any) -> Iterator[wire.CollectorMessage]:
        hello = next(request_iterator)
        with grpc.insecure_channel(self._to, _FAR_FROM_IT) as channel:
            stub: Any = UplinkStub(channel)
            call = stub.Stream(_again(hello, request_iterator))
            context.add_callback(call.cancel)
            try:
                yield from self._twisted(call, hello.hello.host_id)
            except grpc.RpcError as error:
                status: Any = error
                context.abort(status.code(), status.details())

    def _twisted(self, call: Iterator[wire.CollectorMessage], host_id: str) -> Iterator[wire.CollectorMessage]:
        late: wire.CollectorMessage | None = None
        for message in call:
            how = self._how(host_id) if message.HasField("ack") else ""
            if how:
                self.told[how] += 1
            if how == "late" and late is None:
                late = message
                continue
            if how != "lost":
                yield from (message, message) if how == "twice" else (message,)
            if late is not None:
                yield late
                late = None

    def _how(self, host_id: str) -> str:
        if self._chance.random() >= self.unfair.get(host_id, 0):
            return ""
        return self._chance.choice(("lost", "twice", "late"))


def _again(first: wire.HostMessage, others: Iterator[wire.HostMessage]) -> Iterator[wire.HostMessage]:
    yield first
    try:
        yield from others
    except grpc.RpcError:
        return
