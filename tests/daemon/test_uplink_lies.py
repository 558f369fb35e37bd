"""A collector that lies: whatever it says, nothing is trimmed that it cannot have, and its lie is told in words."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio

from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import WriterThread
from gputally.daemon.uplink import Uplink
from gputally.proto.v1 import uplink_pb2 as wire
from gputally.storage.frame import genesis_hash
from gputally.storage.wal import Entry, Log

from .test_uplink import FAST, HOST, MIB, until


def said(**kind: Any) -> bytes:
    return wire.CollectorMessage(**kind).SerializeToString()


HUNDRED_MB = 100 * 1_000_000
LIES = {
    "acknowledges what was never sent": (said(ack=wire.Ack(through_seq=999)), "frame 999 acknowledged, but only"),
    "acknowledges what cannot be": (said(ack=wire.Ack(through_seq=2**64 - 1)), "acknowledged, but only"),
    "rejects what was never sent": (said(reject=wire.Reject(seq=999, reason="no")), "frame 999 rejected, but only"),
    "wants what was never sent": (said(resume=wire.Resume(next_seq=999)), "frame 999 wanted next, but only"),
    "welcomes twice": (said(welcome=wire.Welcome(committed_seq=1)), "Welcomed while streaming"),
    "sends garbage": (b"\xff" * 40, "deserializ"),
    "sends 100 MB": (said(goodbye=wire.Goodbye(reason="x" * HUNDRED_MB)), "larger than max"),
}


@contextmanager
def lying(lie: bytes) -> Iterator[str]:
    """Welcomes truly, says the lie, and waits."""
    released = threading.Event()

    def stream(requests: Iterator[wire.HostMessage], context: grpc.ServicerContext) -> Iterator[bytes]:
        hello = next(requests).hello
        head = genesis_hash(hello.host_id, hello.epoch)
        yield said(welcome=wire.Welcome(head_hash=head, window_frames=2, window_bytes=MIB))
        yield lie
        released.wait(20)

    handler = grpc.stream_stream_rpc_method_handler(
        stream, request_deserializer=wire.HostMessage.FromString, response_serializer=lambda raw: raw
    )
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("gputally.v1.Uplink", {"Stream": handler}),))
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        released.set()
        server.stop(0).wait()


@pytest.mark.parametrize("name", LIES)
def test_a_lie_ends_the_stream_and_trims_nothing(tmp_path: Path, name: str) -> None:
    lie, why = LIES[name]

    async def main(address: str) -> None:
        log = Log.open(tmp_path / "log", HOST, 4 * MIB)
        log.append([Entry(1, b"frame %d" % n) for n in range(5)], None)
        settings = UplinkConfig(endpoints=(address,), insecure_plaintext=True)
        uplink = Uplink(log, settings, HOST, "0.test", WriterThread(), pace=FAST)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(uplink.run)
                await until(lambda: why in (uplink.status().last_error or ""))
                nursery.cancel_scope.cancel()
        stat = log.stat()
        assert (stat.acked_seq, stat.first_seq, stat.last_seq, stat.rejected_frames) == (0, 1, 5, 0)
        log.close()

    with lying(lie) as address:
        trio.run(main, address)
