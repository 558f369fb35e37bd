"""Instants, rounding, grids, coverage, SKUs, replies: values without a socket or a disk."""

import asyncio
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.collector.budget import Budget
from gputally.collector.config import SkuConfig
from gputally.collector.coverage import Coverage
from gputally.collector.grid import MINUTE_NS, Window, cut_windows, edges_ns, grid_ns
from gputally.collector.instants import format_instant, parse_instant
from gputally.collector.replies import Replies
from gputally.collector.rounding import hours, round_half_up
from gputally.collector.skus import sku_of
from gputally.model.conservation import tile
from gputally.model.interval import NS_PER_HOUR, NS_PER_S, Interval
from gputally.storage.ledger_rules import Ruling, Verdict
from gputally.storage.usage_query import WindowLength

DAY_NS = 24 * NS_PER_HOUR
INSTANTS = st.integers(0, 2**62 - 1)


@given(st.integers(0, 10**30), st.integers(1, 10**18), st.integers(0, 12))
def test_rounding_is_half_up_to_the_last_digit(numerator: int, denominator: int, scale: int) -> None:
    shown = Fraction(round_half_up(numerator, denominator, scale))
    error = (shown - Fraction(numerator, denominator)) * 10**scale
    assert Fraction(-1, 2) < error <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("ns", "scale", "shown"),
    [
        (18 * NS_PER_S, 2, "0.01"),  # exactly half a hundredth
        (18 * NS_PER_S - 1, 2, "0.00"),
        (NS_PER_HOUR // 2, 0, "1"),
        (10_713_600_000_000_000_000, 2, "2976000.00"),
        (1, 12, "0.000000000000"),
    ],
)
def test_hours_as_they_are_shown(ns: int, scale: int, shown: str) -> None:
    assert hours(ns, scale) == shown


@given(INSTANTS)
def test_an_instant_is_read_as_it_was_written(instant_ns: int) -> None:
    assert parse_instant(format_instant(instant_ns)) == instant_ns


@given(INSTANTS, st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]))
def test_an_instant_in_a_zone_is_the_same_instant(instant_ns: int, zone: str) -> None:
    # RFC 3339 has no seconds in offsets; zones had them before the railways came.
    told = format_instant(instant_ns, ZoneInfo(zone))
    offset = datetime.fromisoformat(told[:19] + told[-6:]).utcoffset() or timedelta()
    assert offset % timedelta(minutes=1) == timedelta()
    assert parse_instant(told) == instant_ns


@pytest.mark.parametrize(
    "text", ["", "now", "2025-06-01", "2025-06-01T25:00:00Z", "2025-06-01T00:00:00+25:00", "0000-01-01T00:00:00Z",
             "2025-06-01T00:00:00.1234567890Z", "\u0662\u0660\u0662\u0665-06-01T00:00:00Z", "2025-06-01T00:00:00"],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is \""):
        parse_instant(text)


def window(length_s: int, aligned: bool = True, cut_start: bool = False, cut_end: bool = False) -> WindowLength:
    return WindowLength(length_s * NS_PER_S, aligned, cut_start, cut_end)


@pytest.mark.parametrize(
    ("in_ledger_s", "overlapping", "grid_s"),
    [
        ([], [], 60),
        ([60], [window(60)], 60),
        ([60, 300], [window(60)], 60),
        ([60, 300], [window(60), window(300)], 300),
        ([180, 300], [window(180), window(300)], 900),
        ([3600], [window(3600)], 3600),
        ([20], [window(20)], 20),
        ([10, 12], [window(10)], 60),
        ([20, 60], [window(20)], 60),
        ([25_200], [window(25_200)], 60),
        ([3600], [window(3600, aligned=False)], 60),
    ],
)
def test_the_grid_follows_the_windows_in_the_ledger(
    in_ledger_s: list[int], overlapping: list[WindowLength], grid_s: int
) -> None:
    assert grid_ns([length * NS_PER_S for length in in_ledger_s], overlapping) == grid_s * NS_PER_S


def test_only_windows_on_no_grid_are_asked_whether_they_are_cut() -> None:
    odd, even = window(25_200, cut_end=True), window(3600, cut_start=True)
    assert cut_windows([odd, even]) == (None, 25_200 * NS_PER_S)
    assert cut_windows([even]) == (None, None)


@given(st.integers(0, 2**61), st.integers(1, 60 * DAY_NS), st.sampled_from([Window.HOUR, Window.DAY, Window.MONTH]))
def test_windows_cover_the_range_without_hole(start_ns: int, length_ns: int, kind: Window) -> None:
    span = Interval(start_ns, start_ns + length_ns)
    edges = edges_ns(span, kind, ZoneInfo("America/New_York") if kind is not Window.HOUR else UTC)
    assert edges[0] <= span.start_ns and edges[-1] < span.end_ns
    assert all(before < after for before, after in pairwise(edges))
    assert all(edge > span.start_ns for edge in edges[1:])


def test_a_day_whose_midnight_is_skipped_begins_at_its_first_instant() -> None:
    zone = ZoneInfo("America/Santiago")  # 2024-09-08: clocks go from 23:59:59 to 01:00:00
    at = parse_instant("2024-09-08T12:00:00-03:00")
    (edge,) = edges_ns(Interval(at, at + 1), Window.DAY, zone)
    assert format_instant(edge, zone) == "2024-09-08T01:00:00-03:00"
    assert format_instant(edge) == "2024-09-08T04:00:00Z"


def test_too_many_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 50000"):
        edges_ns(Interval(0, 60_000 * MINUTE_NS), Window.MINUTE, UTC)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=30))
def test_coverage_takes_what_is_new_and_nothing_else(tried: list[tuple[int, int]]) -> None:
    coverage, instants = Coverage(), set[int]()
    for start, length in tried:
        wanted = Interval(start, start + length)
        here = set(range(start, start + length))
        assert coverage.overlaps(wanted) == bool(instants & here)
        if not instants & here:
            coverage.add(wanted)
            instants |= here
    covered = [instant for each in coverage.stretches for instant in range(each.start_ns, each.end_ns)]
    assert covered == sorted(instants)
    assert all(one.end_ns < other.start_ns for one, other in pairwise(coverage.stretches))
    assert tile(coverage.stretches).overlaps == ()


def test_the_first_sku_that_matches_is_it() -> None:
    skus = (SkuConfig("Large", "NVIDIA H100*"), SkuConfig("Other", "NVIDIA *"))
    assert [sku_of(model, skus) for model in ("NVIDIA H100 80GB", "NVIDIA L40", "AMD MI300")] == [
        "Large", "Other", "unassigned",
    ]  # fmt: skip


def test_acknowledgements_are_coalesced_behind_the_rejections_they_cover() -> None:
    replies = Replies()
    for seq in (1, 2, 3):
        replies.note(Ruling(Verdict.COMMITTED, seq, seq, "bad" if seq == 2 else ""))
    replies.note(Ruling(Verdict.OUT_OF_ORDER, 9, 3))
    replies.note(Ruling(Verdict.OUT_OF_ORDER, 10, 3))
    said = [(each.WhichOneof("kind"), each) for each in replies.take()]
    assert [kind for kind, _ in said] == ["reject", "ack", "resume"]
    assert (said[0][1].reject.seq, said[1][1].ack.through_seq, said[2][1].resume.next_seq) == (2, 3, 4)
    assert replies.take() == []
    replies.note(Ruling(Verdict.OUT_OF_ORDER, 11, 3))
    assert replies.take() == []  # once said is enough
    replies.note(Ruling(Verdict.REPLAY, 3, 3))
    replies.note(Ruling(Verdict.OUT_OF_ORDER, 9, 3))
    assert [each.WhichOneof("kind") for each in replies.take()] == ["ack", "resume"]


def test_the_budget_is_shared_in_the_order_of_asking() -> None:
    async def share() -> list[str]:
        budget, order = Budget(10), list[str]()

        async def take(name: str, size: int) -> None:
            await budget.take(size)
            order.append(name)

        await take("first", 8)
        large, small = asyncio.create_task(take("large", 9)), asyncio.create_task(take("small", 1))
        await asyncio.sleep(0)
        assert order == ["first"]  # the small one would fit, but came later
        cancelled = asyncio.create_task(take("cancelled", 10))
        await asyncio.sleep(0)
        cancelled.cancel()
        budget.give(8)
        await asyncio.gather(large, small)
        budget.give(10)
        await take("last", 10)
        return order

    assert asyncio.run(share()) == ["first", "large", "small", "last"]
