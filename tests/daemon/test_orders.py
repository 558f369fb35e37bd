"""To let go of the driver and to take it again: in the sampler's own task, between two ticks."""

import logging
from collections.abc import Awaitable, Callable
from itertools import groupby, pairwise

import pytest
import trio
import trio.testing

from gputally.daemon.orders import Hold, Orders
from gputally.daemon.sampler import Cadence, sample
from gputally.model.reading import DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice

S = 1_000_000_000


class Driver:
    """A probe as the orders see it; ``hung_s`` is how long a child of it hangs once it is told to leave."""

    def __init__(self, hung_s: float = 0.0) -> None:
        self.hung_s, self.busy, self.let_go_s = hung_s, False, 0.0
        self.closed, self.told = False, list[str]()

    async def read(self, interval_ns: int) -> HostReading:
        with self._alone():
            await trio.sleep(0.01)
        now_ns = round(trio.current_time() * S)
        part = (
            DeviceGap("d", now_ns, GapReason.RELEASED)
            if self.closed
            else DeviceReading("d", now_ns, (ProcessOnDevice(1),))
        )
        return HostReading(now_ns, now_ns, interval_ns, (part,))

    async def release(self, within_s: float) -> bool:
        self.told.append("release")
        with self._alone():
            if not self.closed:
                self.closed, self.let_go_s = True, trio.current_time() + self.hung_s
            await trio.sleep(min(within_s, max(self.let_go_s - trio.current_time(), 0)))
        return trio.current_time() >= self.let_go_s

    def resume(self) -> None:
        self.told.append("resume")
        with self._alone():
            self.closed = False

    def _alone(self) -> "_Alone":
        return _Alone(self)


class _Alone:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def __enter__(self) -> None:
        assert not self.driver.busy, "two are in the probe at once"
        self.driver.busy = True

    def __exit__(self, *_: object) -> None:
        self.driver.busy = False


Seen = list[tuple[float, GapReason | None]]


def played(driver: Driver, play: Callable[[Orders], Awaitable[None]]) -> Seen:
    """(when, why it was a gap) of each tick while ``play`` gives orders."""
    seen: Seen = []

    def offer(reading: HostReading) -> bool:
        (part,) = reading.readings
        seen.append((trio.current_time() - began_s[0], part.reason if isinstance(part, DeviceGap) else None))
        return True

    async def main() -> None:
        began_s.append(trio.current_time())
        orders = Orders(driver, wall_s=lambda: 1_700_000_000.0 + trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sample, driver.read, offer, Cadence(1.0, 5.0), orders, lambda ticks: None)
            await play(orders)
            orders.stop()

    began_s: list[float] = []
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return seen


def test_a_released_driver_shows_at_once_and_so_does_its_return() -> None:
    async def play(orders: Orders) -> None:
        await trio.sleep(3.5)
        orders.release()
        assert await orders.released()
        assert (orders.state, orders.since is None) == (Hold.RELEASED, False)
        await trio.sleep(20)
        orders.resume()
        await trio.sleep(3.2)
        assert (orders.state, orders.since) == (Hold.HELD, None)

    seen = played(Driver(), play)
    reasons = [reason for _, reason in seen]
    assert reasons == [None] * 4 + [GapReason.RELEASED] * 5 + [None] * 5, seen
    released_s, resumed_s = seen[4][0], seen[9][0]
    assert released_s < 3.6 and 23.4 < resumed_s < 23.6, seen


def test_a_child_that_hangs_in_the_driver_costs_no_tick_and_is_waited_for() -> None:
    driver = Driver(hung_s=7.3)

    async def play(orders: Orders) -> None:
        await trio.sleep(1.5)
        orders.release()
        with trio.move_on_after(3) as waited:
            await orders.released()
        assert waited.cancelled_caught and orders.state is Hold.RELEASING
        assert await orders.released()

    seen = played(driver, play)
    assert driver.told.count("resume") == 0
    gaps = [at_s for at_s, reason in seen if reason is GapReason.RELEASED]
    assert gaps[0] < 2.2 and all(later - sooner <= 5.1 for sooner, later in pairwise(gaps)), seen


def test_who_changes_his_mind_before_the_driver_is_free_gets_it_back() -> None:
    driver = Driver(hung_s=30)

    async def play(orders: Orders) -> None:
        await trio.sleep(0.5)
        orders.release()
        await trio.sleep(2)
        orders.resume()
        assert not await orders.released()
        await trio.sleep(2)

    seen = played(driver, play)
    assert driver.told[-1] == "resume" and seen[-1][1] is None


def test_to_be_told_twice_is_to_be_told_once() -> None:
    driver = Driver()

    async def play(orders: Orders) -> None:
        orders.resume()
        orders.release()
        orders.release()
        since = orders.since
        assert await orders.released()
        await trio.sleep(30)
        orders.release()
        assert orders.since == since and await orders.released()
        orders.resume()
        orders.resume()
        await trio.sleep(1)

    played(driver, play)
    assert [told for told, _ in groupby(driver.told)] == ["release", "resume"]


def test_a_release_that_nobody_resumes_is_told_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gputally.daemon.orders")

    async def play(orders: Orders) -> None:
        orders.release()
        await trio.sleep(3 * 3600 + 60)

    played(Driver(), play)
    reminders = [line for line in caplog.messages if "has been released since 2023-11-14T22:13:2" in line]
    assert len(reminders) == 3 and all("gputally daemon resume" in line for line in reminders), caplog.messages


def test_a_stop_while_a_child_hangs_waits_for_nobody() -> None:
    async def play(orders: Orders) -> None:
        await trio.sleep(0.5)
        orders.release()
        await trio.sleep(0.1)

    assert played(Driver(hung_s=1000), play)[-1][0] < 2
