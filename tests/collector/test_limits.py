"""How often one caller may ask, and that nobody has to wait behind all that another wants."""

import asyncio

import pytest

from gputally.collector.limits import MOST_CALLERS, Limits, network_of
from gputally.collector.problems import Problem, TryLater
from gputally.collector.turns import CALLER, Turns

S = 10**9


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_a_minutes_requests_may_come_at_once_and_come_back_as_it_passes() -> None:
    clock = Clock()
    limits = Limits(60, 1_000, clock)
    for _ in range(60):
        with limits.taken("kim"):
            pass
    with pytest.raises(TryLater) as refused, limits.taken("kim"):
        pass
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
    with limits.taken("lee"):  # is somebody else
        pass
    clock.now_ns = S
    with limits.taken("kim"):
        pass
    with pytest.raises(TryLater), limits.taken("kim"):
        pass


def test_whoever_asks_too_often_is_told_how_long_to_wait() -> None:
    limits = Limits(2, 10, Clock())
    for _ in range(2):
        with limits.taken("kim"):
            pass
    with pytest.raises(TryLater) as refused, limits.taken("kim"):
        pass
    assert refused.value.headers["Retry-After"] == "30" and "ask again in 30 s" in refused.value.detail


def test_answers_at_once_are_bounded_and_given_back_also_after_an_error() -> None:
    limits = Limits(1_000, 2, Clock())
    with limits.taken("kim"), limits.taken("kim"):
        with pytest.raises(TryLater, match="being answered already"), limits.taken("kim"):
            pass
        with limits.taken("lee"):
            pass
    with pytest.raises(ValueError), limits.taken("kim"):
        raise ValueError
    with limits.taken("kim"), limits.taken("kim"):
        pass


def test_strangers_by_the_million_take_no_memory_by_the_million() -> None:
    limits = Limits(10, 10, Clock())
    for number in range(MOST_CALLERS + 50):
        with limits.taken(f"address {number}"):
            pass
    assert len(limits._known) == MOST_CALLERS  # pyright: ignore[reportPrivateUsage]


def test_whoever_is_being_answered_is_not_forgotten_whatever_comes_in_between() -> None:
    limits = Limits(10, 1, Clock())
    with limits.taken("kim"):
        for number in range(MOST_CALLERS + 50):
            with limits.taken(f"address {number}"):
                pass
        with pytest.raises(TryLater, match="being answered already"), limits.taken("kim"):
            pass
    assert len(limits._known) == MOST_CALLERS  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_with_all_that_its_owner_has(address: str, network: str) -> None:
    assert network_of(address) == network


async def ask(turns: Turns, who: str, order: list[str]) -> None:
    CALLER.set(who)
    async with turns.turn():
        order.append(who)
        await asyncio.sleep(0)


def test_callers_take_turns_however_many_questions_one_of_them_has() -> None:
    async def story() -> list[str]:
        turns, order = Turns("questions", 1, 64, 16), list[str]()
        async with turns.turn():
            tasks = [asyncio.create_task(ask(turns, who, order)) for who in "aaaaaabbc"]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(story()) == list("abcabaaaa")


def test_one_caller_cannot_take_all_places_in_the_queue() -> None:
    async def story() -> None:
        turns, order = Turns("questions", 1, 6, 4), list[str]()
        async with turns.turn():
            tasks = [asyncio.create_task(ask(turns, who, order)) for who in "aaaa"]
            await asyncio.sleep(0)
            with pytest.raises(Problem, match="questions of yours are waiting already"):
                await ask(turns, "a", order)
            tasks += [asyncio.create_task(ask(turns, "b", order)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(TryLater, match="6 questions are waiting already") as refused:
                await ask(turns, "c", order)
            assert refused.value.status == 503 and refused.value.headers["Retry-After"] == "1"
        await asyncio.gather(*tasks)

    asyncio.run(story())


def test_whoever_goes_away_while_waiting_leaves_no_place_taken() -> None:
    async def story() -> list[str]:
        turns, order = Turns("questions", 1, 64, 16), list[str]()
        async with turns.turn():
            tasks = [asyncio.create_task(ask(turns, who, order)) for who in "abcd"]
            await asyncio.sleep(0)
            tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await ask(turns, "e", order)
        return order

    assert asyncio.run(story()) == ["a", "c", "d", "e"]


def test_a_turn_is_not_given_to_whoever_is_just_leaving() -> None:
    async def story() -> list[str]:
        turns, order = Turns("questions", 1, 64, 16), list[str]()
        async with turns.turn():
            tasks = [asyncio.create_task(ask(turns, who, order)) for who in "bbc"]
            await asyncio.sleep(0)
            tasks[0].cancel()  # and the turn ends before it has run
        await asyncio.gather(*tasks, return_exceptions=True)
        await ask(turns, "e", order)
        return order

    assert sorted(asyncio.run(story())) == ["b", "c", "e"]


def test_a_turn_that_comes_in_the_moment_of_leaving_is_another_ones() -> None:
    async def story() -> list[str]:
        turns, order = Turns("questions", 1, 64, 16), list[str]()
        async with turns.turn():
            tasks = [asyncio.create_task(ask(turns, who, order)) for who in "bc"]
            await asyncio.sleep(0)
        tasks[0].cancel()  # its turn has come, and it has not run since
        await asyncio.gather(*tasks, return_exceptions=True)
        await ask(turns, "e", order)
        return order

    assert asyncio.run(story()) == ["c", "e"]
