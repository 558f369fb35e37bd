"""A Skip is the same bytes on the wire's terms, and no bytes that are none bring anything down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.proto.v1 import uplink_pb2 as wire
from gputally.storage.frame import DamagedFrame, make_frame, make_skip, read_frame, span_of
from gputally.storage.skip import MOST_LOST, BadSkip, Lost, Skip, decode_skip, encode_skip, sum_up

EPOCH, BEFORE, LAST = b"e" * 16, b"b" * 32, b"l" * 32
numbers = st.integers(0, 2**64 - 1)
lost = st.builds(Lost, st.text(max_size=5), st.text(max_size=5), st.integers(0, 2**32 - 1), numbers)
skips = st.builds(Skip, st.integers(1, 2**64 - 1), st.just(LAST), st.text(max_size=9), st.lists(lost).map(tuple))


@given(skips)
def test_the_bytes_are_those_of_the_message_and_come_back(skip: Skip) -> None:
    told = wire.Skip(first_seq=skip.first_seq, last_hash=skip.last_hash, reason=skip.reason)
    for each in skip.lost:
        told.lost.add(boot_id=each.boot_id, device_id=each.device_id, generation=each.generation, ns=each.ns)
    assert encode_skip(skip) == told.SerializeToString(deterministic=True)
    assert decode_skip(encode_skip(skip)) == skip


@given(st.binary(max_size=80))
def test_bytes_that_are_no_skip_are_refused_in_words(raw: bytes) -> None:
    try:
        assert decode_skip(raw).first_seq >= 1
    except BadSkip as bad:
        assert str(bad)


def test_a_frame_that_is_a_skip_stands_for_a_range_and_the_chain_goes_on_from_its_last() -> None:
    frame = read_frame(make_skip(EPOCH, 9, BEFORE, Skip(4, LAST, "buffer_full")).to_bytes())
    assert (frame.first_seq, frame.seq, frame.previous_hash, frame.chain_hash) == (4, 9, BEFORE, LAST)
    assert span_of(frame.to_bytes()) == (4, 9)
    plain = make_frame(EPOCH, 5, BEFORE, 0, b"batch")
    assert (span_of(plain.to_bytes()), plain.chain_hash) == ((5, 5), plain.hash)


@pytest.mark.parametrize(("first_seq", "last_hash"), [(10, LAST), (0, LAST), (4, b"short")])
def test_a_skip_that_cannot_be_is_a_damaged_frame(first_seq: int, last_hash: bytes) -> None:
    good = make_skip(EPOCH, 9, BEFORE, Skip(4, LAST, "buffer_full")).to_bytes()
    payload = encode_skip(Skip(first_seq, last_hash, "buffer_full"))
    lengths = len(payload).to_bytes(4, "big") * 2
    with pytest.raises(DamagedFrame):
        read_frame(good[:60] + lengths + payload)


def test_lost_time_is_one_sum_for_each_device_and_bounded_without_losing_a_nanosecond() -> None:
    assert sum_up([Lost("b", "d", 0, 1), Lost("b", "d", 0, 2), Lost("b", "d", 1, 4)]) == (
        Lost("b", "d", 0, 3),
        Lost("b", "d", 1, 4),
    )
    many = sum_up(Lost("b", f"d{n}", 0, n + 1) for n in range(3 * MOST_LOST))
    assert len(many) == MOST_LOST
    assert sum(each.ns for each in sum_up((*many, *many))) == 3 * MOST_LOST * (3 * MOST_LOST + 1)
