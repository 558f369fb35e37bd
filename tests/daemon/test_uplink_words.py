"""What is made by hand for speed is, byte for byte, what protobuf makes."""

import pytest

from gputally.daemon.uplink_words import frame_message
from gputally.proto.v1 import uplink_pb2 as wire


@pytest.mark.parametrize("size_bytes", [1, 127, 128, 16_383, 16_384, 512 * 1024])
def test_a_stored_frame_goes_out_as_protobuf_would_have_written_it(size_bytes: int) -> None:
    raw = bytes(range(256)) * (size_bytes // 256) + bytes(range(size_bytes % 256))
    assert frame_message(raw) == wire.HostMessage(frame=raw).SerializeToString()
