"""A few of each kind of fault, and each control. ``make faults`` is the long form.

Not told by the clock: what must not happen is counted, and how long it took is nobody's business here.
"""

import os
from typing import Final

import pytest

from gputally.daemon.uplink_session import Pace

from . import network
from .kinds import tried
from .network import longest_stuck_s
from .outcome import Outcome, table

SEED: Final = int(os.environ.get("GPUTALLY_SEED", "20261124"))


def assert_unharmed(outcome: Outcome, at_least: int) -> None:
    skip_if_impossible(outcome)
    assert outcome.harmed == 0, outcome.words
    assert outcome.tried >= at_least


def assert_harmed(outcome: Outcome) -> None:
    skip_if_impossible(outcome)
    assert outcome.harmed > 0, "the control came to no harm: the test beside it cannot see any"


def skip_if_impossible(outcome: Outcome) -> None:
    if outcome.skipped:
        pytest.skip(outcome.skipped)


def test_a_kill_at_any_moment_loses_and_doubles_nothing() -> None:
    assert_unharmed(tried("sigkill", 20, SEED), 20)


def test_a_host_that_promises_before_it_has_kept_loses_by_a_kill() -> None:
    assert_harmed(tried("sigkill", 20, SEED, control=True))


def test_what_was_promised_outlives_a_power_cut() -> None:
    assert_unharmed(tried("powercut", 20, SEED), 20)


def test_without_flushing_a_power_cut_loses_what_was_promised() -> None:
    assert_harmed(tried("powercut", 10, SEED, control=True))


def test_every_state_a_crash_may_leave_has_what_was_promised() -> None:
    assert_unharmed(tried("states", 400, SEED), 400)


def test_a_disk_that_ignores_flushes_loses_what_was_promised() -> None:
    assert_harmed(tried("states", 60, SEED, control=True))


def test_a_call_that_fails_loses_and_doubles_nothing() -> None:
    assert_unharmed(tried("errors", 40, SEED), 35)


def test_who_takes_an_error_for_a_no_loses() -> None:
    assert_harmed(tried("errors", 60, SEED, control=True))


def test_a_damaged_log_is_served_again_and_says_exactly_what_is_lost() -> None:
    assert_unharmed(tried("damage", 12, SEED), 12)


def test_a_damaged_log_that_nobody_checks_does_harm() -> None:
    assert_harmed(tried("damage", 20, SEED, control=True))


def test_a_full_log_on_a_full_disk_declares_what_it_refused() -> None:
    assert_unharmed(tried("full", 25, SEED), 25)


def test_a_keeper_that_forgets_what_it_refused_is_found_out() -> None:
    assert_harmed(tried("full", 5, SEED, control=True))


def test_whatever_the_network_does_everything_arrives_once() -> None:
    assert_unharmed(tried("network", 12, SEED), 12)


def test_a_host_without_deadlines_stays_stuck() -> None:
    assert_harmed(tried("network", 8, SEED, control=True))


def test_a_stuck_stream_is_noticed_within_30_seconds_by_the_deadlines_as_they_are() -> None:
    assert longest_stuck_s(Pace()) <= 30
    assert longest_stuck_s(network.PACE) <= longest_stuck_s(Pace()) / 10


def test_a_stepped_wall_clock_and_a_suspend_make_and_lose_no_time() -> None:
    assert_unharmed(tried("clock", 6, SEED), 6)


def test_the_table_says_what_could_not_be_tried_and_why() -> None:
    outcome = Outcome("power cut", skipped="needs root")
    assert table([outcome, Outcome("SIGKILL", tried=2, survived=1, lost=3)]).splitlines() == [
        "fault      tried  survived  lost  doubled  undeclared",
        "power cut      0         0     0        0           0  skipped: needs root",
        "SIGKILL        2         1     3        0           0",
    ]
