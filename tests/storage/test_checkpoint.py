"""Plain data come back as they were, and damaged bytes are refused, whatever was done to them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.storage.checkpoint import DamagedCheckpoint, decode, encode

leaves = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.text(max_size=8) | st.binary(max_size=8)
plain: st.SearchStrategy[Any] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@given(plain)
def test_what_was_written_comes_back(data: Any) -> None:
    assert decode(encode(data)) == data


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63) - 1, 80 * 2**30 * 60 * 10**9])
def test_a_sum_that_leaves_64_bits_behind_is_kept_exactly(number: int) -> None:
    assert decode(encode({"byte_ns": number})) == {"byte_ns": number}


@given(plain, st.data())
def test_a_single_changed_bit_is_noticed(data: Any, draw: st.DataObject) -> None:
    raw = bytearray(encode(data))
    place = draw.draw(st.integers(0, len(raw) * 8 - 1))
    raw[place // 8] ^= 1 << place % 8
    with pytest.raises(DamagedCheckpoint):
        decode(bytes(raw))


@given(st.binary(max_size=64))
def test_bytes_that_are_no_checkpoint_are_refused_as_such(raw: bytes) -> None:
    with pytest.raises(DamagedCheckpoint):
        decode(raw)


def test_a_checkpoint_cut_short_is_refused() -> None:
    raw = encode({"open": list(range(100))})
    for length in range(len(raw)):
        with pytest.raises(DamagedCheckpoint):
            decode(raw[:length])


def test_what_is_not_plain_data_is_refused_when_it_is_written() -> None:
    with pytest.raises(TypeError, match="plain data"):
        encode({"open": object()})
