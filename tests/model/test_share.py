"""No nanosecond is made or lost when a whole is divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.share import share_out

names = st.text("abcdef", min_size=1, max_size=3)
weights = st.dictionaries(names, st.integers(0, 10**12), min_size=1, max_size=12)
totals = st.integers(0, 10**22)


@given(totals, weights)
def test_no_nanosecond_is_made_or_lost(total: int, weights: dict[str, int]) -> None:
    assert sum(share_out(total, weights).values()) == total


@given(totals, weights)
def test_no_part_is_further_than_one_from_its_exact_share(total: int, weights: dict[str, int]) -> None:
    whole = sum(weights.values())
    for name, part in share_out(total, weights).items():
        if whole:
            assert abs(part * whole - total * weights[name]) < whole


@given(totals, weights)
def test_the_order_of_the_keys_does_not_matter(total: int, weights: dict[str, int]) -> None:
    assert share_out(total, weights) == share_out(total, dict(reversed(weights.items())))


def test_equal_weights_give_the_odd_nanoseconds_to_the_first_keys() -> None:
    parts = share_out(60_000_000_000, dict.fromkeys("abcdefg", 1))
    assert [parts[name] - 8_571_428_571 for name in "abcdefg"] == [1, 1, 1, 0, 0, 0, 0]


def test_weights_that_are_all_zero_give_equal_parts() -> None:
    assert share_out(9, {"a": 0, "b": 0, "c": 0}) == {"a": 3, "b": 3, "c": 3}


def test_without_keys_there_are_no_parts() -> None:
    assert share_out(5, dict[str, int]()) == {}


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        share_out(-1, {"a": 1})
    with pytest.raises(ValueError, match="negative"):
        share_out(1, {"a": -1})
