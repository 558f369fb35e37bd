"""Rights to GPUs beside what was used of them."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gputally.model.prorated import Prorated, total
from gputally.model.reserving import Held, Right, compare, waterfall

H = 3600 * 10**9
PARTS = 7
starts, lengths = st.integers(0, 40), st.integers(1, 25)


def one_held(start: int, length: int, amount: int) -> Held:
    return Held(start, start + length, amount)


def one_right(start: int, length: int, gpus: int) -> Right:
    return Right(start, start + length, gpus)


holdings = st.lists(st.builds(one_held, starts, lengths, st.integers(1, 400)), max_size=8)
rights = st.lists(st.builds(one_right, starts, lengths, st.integers(0, 3)), max_size=4)


def naive_within(held: list[Held], told: list[Right]) -> Fraction:
    """Nanosecond by nanosecond."""
    whole = Fraction(0)
    for at in range(70):
        shares = [Fraction(h.amount, (h.end_ns - h.start_ns) * PARTS) for h in held if h.start_ns <= at < h.end_ns]
        gpus = sum(right.gpus for right in told if right.start_ns <= at < right.end_ns)
        whole += min(sum(shares, Fraction(0)), Fraction(gpus))
    return whole


def test_g5_eight_gpus_for_a_day_of_which_five_then_ten_are_used() -> None:
    held = [Held(0, 12 * H, 12 * H)] * 5 + [Held(12 * H, 14 * H, 2 * H)] * 10
    told = compare(held, [Right(0, 24 * H, 8)])
    assert [ns // H for ns in (told.reserved_ns, told.used_ns, told.within_ns, told.unused_ns, told.overage_ns)] == [
        192, 80, 76, 116, 4,
    ]  # fmt: skip


@given(holdings, rights)
def test_what_is_used_within_a_right_is_exact_to_the_last_fraction(held: list[Held], told: list[Right]) -> None:
    outcome = compare(held, told, PARTS)
    assert outcome.within_ns == naive_within(held, told) // 1
    assert 0 <= outcome.within_ns <= min(outcome.reserved_ns, outcome.used_ns)


@given(holdings, rights)
def test_rights_that_fill_up_one_after_another_take_together_what_all_of_them_take(
    held: list[Held], told: list[Right]
) -> None:
    parts = list(waterfall(held, told, PARTS))
    assert sum(parts) == compare(held, told, PARTS).within_ns
    assert all(part >= 0 for part in parts)


@given(st.lists(st.tuples(st.integers(0, 10**20), st.integers(1, 10**11))))
def test_fractions_are_floored_once_in_the_sum(terms: list[tuple[int, int]]) -> None:
    each: list[Prorated] = []
    for numerator, length in terms:
        part = Prorated()
        part.add(numerator, length)
        each.append(part)
    assert total(each).floored(3) == sum((Fraction(*term) for term in terms), Fraction(0)) / 3 // 1
