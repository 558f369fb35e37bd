"""Frames come in pieces, and a child that went mad cannot grow the daemon's memory."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.plugins.nvml import codec
from gputally.plugins.nvml.replies import parse

REPLY: list[object] = [
    42,
    7,
    0,
    ["580.95.05", [[0, "GPU-a", "H100", 80, "00000000:18:00.0", []]]],
    [[0, 5, 0, 99, None, 3, None, [10, 1 << 40, None], [[11, [4], 7, None]], None]],
    "",
    {"row_pid": 2},
    [1, 2, [0, 79]],
]


@given(st.lists(st.integers(1, 40), max_size=20))
def test_a_message_is_the_same_however_the_pipe_cuts_it(cuts: list[int]) -> None:
    stream = codec.pack(REPLY) + codec.pack([3])
    inbox, got = codec.Inbox(), list[object]()
    for cut in cuts:
        got += inbox.feed(stream[:cut])
        stream = stream[cut:]
    got += inbox.feed(stream)
    assert got == [REPLY, [3]]


def test_a_reply_says_what_was_read() -> None:
    reply = parse(REPLY)
    assert (reply.driver_calls, reply.other_calls, reply.code) == (42, 7, 0)
    assert reply.rows[0].energy_mj == 3
    assert reply.rows[0].memory_used_bytes is None
    assert tuple(reply.rows[0].passed[0]) == (11, [4], 7, None)
    assert reply.rejected == {"row_pid": 2}
    assert reply.xids == (1, 2, [0, 79])


@pytest.mark.parametrize(
    "junk",
    [
        None,
        5,
        [],
        [1, 2],
        [0, 0, 0, None, [[1]], "", {}, None],
        [0, 0, 0, 3, [], "", {}, None],
        [0, 0, 0, None, [], "", 5, None],
        [0, 0, 0, None, [], "", {}, [1]],
        [0, 0, 0, ["580"], [], "", {}, None],
        "abcdefgh",
    ],
)
def test_what_is_no_reply_is_refused(junk: object) -> None:
    with pytest.raises(codec.BrokenFrameError):
        parse(junk)


def test_a_length_beyond_the_limit_is_refused_before_anything_is_gathered() -> None:
    with pytest.raises(codec.BrokenFrameError, match="limit"):
        codec.Inbox().feed((codec.LIMIT_BYTES + 1).to_bytes(4, "little"))
    with pytest.raises(codec.BrokenFrameError, match="limit"):
        codec.pack([b"x" * codec.LIMIT_BYTES])


@given(st.binary(min_size=1, max_size=40))
def test_garbage_is_a_broken_frame_and_nothing_else(payload: bytes) -> None:
    with suppress(codec.BrokenFrameError):
        codec.Inbox().feed(len(payload).to_bytes(4, "little") + payload)
