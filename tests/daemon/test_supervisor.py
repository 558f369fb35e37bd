"""A child that crashes lives again; one that crashes too often is its parent's crash."""

import pytest
import trio
import trio.testing

from gputally.daemon.supervisor import Budget, GivenUp, Supervisor


class Fatal(Exception):
    """What no other life could mend."""


def run(lives: list[Exception | None], budget: Budget | None = None) -> tuple[Supervisor, int]:
    left = list(lives)

    async def life() -> None:
        crash = left.pop(0)
        if crash is not None:
            raise crash

    async def main() -> tuple[Supervisor, int]:
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, fatal=(Fatal,))
            supervisor.start("child", life, budget)
        return supervisor, len(lives) - len(left)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_crashed_child_is_started_again_and_counted() -> None:
    supervisor, lives = run([OSError("a"), OSError("b"), None])
    assert (supervisor.restarts, lives) == ({"child": 2}, 3)


def test_a_child_that_returns_is_finished() -> None:
    supervisor, lives = run([None, None])
    assert (supervisor.restarts, lives) == ({"child": 0}, 1)


def test_a_spent_budget_is_the_parents_crash_with_its_cause() -> None:
    with pytest.RaisesGroup(GivenUp) as raised:
        run([OSError("disk")] * 9, Budget(crashes=3))
    (given_up,) = raised.value.exceptions
    assert isinstance(given_up.__cause__, OSError)
    assert "child crashed 4 times" in str(given_up)


def test_crashes_long_ago_are_forgiven() -> None:
    rests = Budget(crashes=1, period_s=0.001, first_rest_s=60, longest_rest_s=60)
    supervisor, _ = run([OSError("x")] * 20 + [None], rests)
    assert supervisor.restarts == {"child": 20}


def test_a_fatal_crash_is_not_tried_again() -> None:
    with pytest.RaisesGroup(Fatal):
        run([Fatal(), None])
