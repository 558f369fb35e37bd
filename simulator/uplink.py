"""The host's side of a stream, by hand: says what it is told, hears what is answered. Over real gRPC."""

import queue
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import grpc

from ..proto.v1 import uplink_pb2 as wire
from ..proto.v1.uplink_pb2_grpc import UplinkStub
from ..storage.frame import FORMAT, Frame


class StreamEnded(Exception):
    """The collector ended the stream; ``code`` and ``why`` are its status."""

    def __init__(self, code: grpc.StatusCode, why: str) -> None:
        super().__init__(f"{code.name}: {why}")
        self.code = code
        self.why = why


class Conversation:
    """One stream. ``with`` it, so that the channel is closed. Waits as long as the collector keeps it open."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options=options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=options)
        self._outbox: queue.Queue[wire.HostMessage | None] = queue.Queue()
        # Any: pyright takes the generated stubs' gputally.proto and our ..proto for two modules.
        self._call: Any = cast(Any, UplinkStub(self._channel)).Stream(iter(self._outbox.get, None))

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._outbox.put(None)
        self._call.cancel()
        self._channel.close()

    def hello(self, host_id: str, epoch: bytes, first_seq: int = 1, last_seq: int = 0) -> wire.Welcome:
        """Raises StreamEnded if the collector does not welcome us."""
        hello = wire.Hello(
            host_id=host_id,
            epoch=epoch,
            frame_format=FORMAT,
            first_seq=first_seq,
            last_seq=last_seq,
            daemon_version="simulator",
        )
        self.say(wire.HostMessage(hello=hello))
        return self.hear().welcome

    def say(self, message: wire.HostMessage) -> None:
        self._outbox.put(message)

    def send(self, raw: bytes) -> None:
        """A frame, or what pretends to be one."""
        self.say(wire.HostMessage(frame=raw))

    def goodbye(self) -> None:
        self.say(wire.HostMessage(goodbye=wire.Goodbye(reason="simulated")))

    def hear(self) -> wire.CollectorMessage:
        """The next answer. Raises StreamEnded."""
        try:
            message: wire.CollectorMessage = next(self._call)
            return message
        except StopIteration:
            raise StreamEnded(grpc.StatusCode.OK, "the collector ended the stream") from None
        except grpc.RpcError as error:
            raise StreamEnded(_code(error), _details(error)) from None

    def hear_ack(self, through_seq: int) -> list[wire.CollectorMessage]:
        """Everything heard until this seq, or a later one, is acknowledged."""
        heard: list[wire.CollectorMessage] = []
        while not heard or heard[-1].ack.through_seq < through_seq:
            heard.append(self.hear())
        return heard


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    code: Callable[[], grpc.StatusCode] | None = getattr(error, "code", None)
    return code() if code else grpc.StatusCode.UNKNOWN


def _details(error: grpc.RpcError) -> str:
    details: Callable[[], str | None] | None = getattr(error, "details", None)
    return (details() if details else None) or str(error)


@dataclass(slots=True)
class Delivery:
    """What became of a delivery."""

    frames: int = 0
    through_seq: int = 0
    rejected: int = 0


def deliver(
    address: str,
    host_id: str,
    epoch: bytes,
    frames: Iterable[Frame],
    credentials: grpc.ChannelCredentials | None = None,
    delivery: Delivery | None = None,
) -> Delivery:
    """Streams all frames that the collector lacks and returns when they are acknowledged.

    ``delivery`` is told as it goes. Raises StreamEnded.
    """
    delivery = delivery or Delivery()
    on_wire: deque[int] = deque()
    with Conversation(address, credentials) as conversation:
        welcome = conversation.hello(host_id, epoch)
        delivery.through_seq = welcome.committed_seq
        for frame in frames:
            if frame.seq <= welcome.committed_seq:
                continue
            while len(on_wire) >= welcome.window_frames:
                _hear(conversation, on_wire, delivery)
            conversation.send(frame.to_bytes())
            on_wire.append(frame.seq)
            delivery.frames += 1
        while on_wire:
            _hear(conversation, on_wire, delivery)
        conversation.goodbye()
    return delivery


def _hear(conversation: Conversation, on_wire: deque[int], delivery: Delivery) -> None:
    message = conversation.hear()
    delivery.rejected += message.HasField("reject")
    delivery.through_seq = max(delivery.through_seq, message.ack.through_seq)
    while on_wire and on_wire[0] <= delivery.through_seq:
        on_wire.popleft()
