"""Hosts that lost the same collector at the same moment do not come back at the same moment."""

import random

import pytest

from gputally.daemon.uplink_retry import Backoff, Endpoints


def test_delays_spread_from_zero_to_a_limit_that_doubles_up_to_the_longest() -> None:
    backoffs = [Backoff(1.0, 8.0, random.Random(seed)) for seed in range(300)]
    for limit_s in (1.0, 2.0, 4.0, 8.0, 8.0, 8.0):
        drawn = [backoff.next_s() for backoff in backoffs]
        assert 0 <= min(drawn) < limit_s * 0.05
        assert limit_s * 0.95 < max(drawn) <= limit_s


def test_progress_makes_the_next_delay_short_again() -> None:
    backoff = Backoff(1.0, 64.0, random.Random(1))
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_hours_of_failures_overflow_nothing() -> None:
    backoff = Backoff(1.0, 30.0)
    assert all(backoff.next_s() <= 30.0 for _ in range(5_000))


def test_endpoints_are_taken_in_order_and_the_preferred_one_again_after_a_while() -> None:
    endpoints = Endpoints(["a", "b", "c"])
    assert endpoints.pick(0) == "a"
    endpoints.failed("a", 0)
    assert endpoints.pick(1) == "b"
    endpoints.failed("b", 1)
    assert endpoints.pick(2) == "c"
    assert endpoints.pick(200) == "c"
    assert endpoints.pick(301) == "a"


def test_when_all_have_failed_it_goes_round() -> None:
    endpoints = Endpoints(["a", "b"])
    tried: list[str] = []
    for now_s in range(6):
        tried.append(endpoints.pick(now_s))
        endpoints.failed(tried[-1], now_s)
    assert tried == ["a", "b", "a", "b", "a", "b"]


def test_without_endpoints_there_is_none_to_pick() -> None:
    with pytest.raises(ValueError):
        Endpoints([]).pick(0)
