"""The sampler's rhythm, on a clock that jumps."""

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from gputally.daemon.config import DaemonConfig, SamplingConfig
from gputally.daemon.orders import Orders
from gputally.daemon.sampler import Cadence, make_cadence, sample, with_clock
from gputally.model.reading import DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice
from gputally.model.usage import ClockState

S = 1_000_000_000


class NoDriver:
    """Is never asked for anything."""

    async def release(self, within_s: float) -> bool:
        raise AssertionError

    def resume(self) -> None:
        raise AssertionError


def reading(interval_ns: int, *pids: int) -> HostReading:
    device = DeviceReading("nvidia:GPU-0", 0, tuple(ProcessOnDevice(pid) for pid in pids))
    return HostReading(0, 0, interval_ns, (device,))


def sampled_at(
    take: Callable[[int], Awaitable[HostReading]], for_s: float, missing: list[int] | None = None
) -> list[tuple[float, int]]:
    """(when, told cadence in ns) of every reading that was offered."""
    seen: list[tuple[float, int]] = []
    missed = [] if missing is None else missing

    def offer(told: HostReading) -> bool:
        seen.append((trio.current_time(), told.interval_ns))
        return True

    async def main() -> None:
        orders = Orders(NoDriver())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sample, take, offer, Cadence(1.0, 5.0), orders, missed.append)
            await trio.sleep(for_s)
            orders.stop()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return [(at_s - seen[0][0], every_ns) for at_s, every_ns in seen]


def test_a_held_gpu_is_read_every_second_and_once_more_at_the_end() -> None:
    async def take(interval_ns: int) -> HostReading:
        return reading(interval_ns, 1)

    assert [at for at, _ in sampled_at(take, 3.5)] == [0, 1, 2, 3, 3.5]


def test_an_idle_host_is_read_seldom_and_told_so() -> None:
    async def take(interval_ns: int) -> HostReading:
        return reading(interval_ns)

    assert sampled_at(take, 11) == [(0, S), (5, 5 * S), (10, 5 * S), (11, 5 * S)]


def test_a_late_reading_is_a_gap_not_a_burst() -> None:
    slow = [4.3]

    async def take(interval_ns: int) -> HostReading:
        await trio.sleep(slow.pop() if slow else 0)
        return reading(interval_ns, 1)

    assert [at for at, _ in sampled_at(take, 7)][:3] == [0, 0, 1]


def test_ticks_that_were_slept_through_are_counted() -> None:
    slow, missed = [4.3], list[int]()

    async def take(interval_ns: int) -> HostReading:
        await trio.sleep(slow.pop() if slow else 0)
        return reading(interval_ns, 1)

    sampled_at(take, 7, missed)
    assert sum(missed) == 3


def test_a_device_that_cannot_be_read_keeps_the_cadence() -> None:
    """It may be held: to look seldom would stretch how long an old value is believed."""
    gap = DeviceGap("nvidia:GPU-0", 0, GapReason.NVML_HANG)
    readings = [reading(S, 1), HostReading(0, 0, S, (gap,)), HostReading(0, 0, S, (gap,))]

    async def take(interval_ns: int) -> HostReading:
        return readings.pop(0) if readings else reading(interval_ns)

    assert [at for at, _ in sampled_at(take, 8)][:5] == [0, 1, 2, 3, 8]


def test_a_device_that_stays_dark_does_not_keep_idle_gpus_awake_for_ever() -> None:
    """After a minute nothing is believed of it any more, so nothing is stretched by looking seldom."""
    begun_s: list[float] = []

    async def take(interval_ns: int) -> HostReading:
        begun_s.append(trio.current_time())
        now_ns = round((trio.current_time() - begun_s[0]) * S)
        if now_ns < S:
            return reading(interval_ns, 1)
        return HostReading(now_ns, 0, interval_ns, (DeviceGap("nvidia:GPU-0", now_ns, GapReason.GPU_LOST),))

    at = [at_s for at_s, _ in sampled_at(take, 80)]
    assert at[:62] == [float(second) for second in range(62)] and at[62:] == [62, 67, 72, 77, 80]


def test_a_driver_that_was_let_go_of_is_no_reason_to_wake_up_often() -> None:
    cadence, gap = Cadence(1.0, 5.0), DeviceGap("nvidia:GPU-0", 0, GapReason.RELEASED)
    assert cadence.after(reading(S, 1), 5.0) == 1.0
    assert cadence.after(HostReading(0, 0, S, (gap,)), 1.0) == 5.0


def test_an_idle_host_is_looked_at_just_after_a_window_has_ended() -> None:
    """What closes then is to be in the ledger within 5 s, and must not wait for the next idle tick."""
    began_ns = 1_700_000_003 * S  # 23 s into a minute
    begun_s: list[float] = []

    async def take(interval_ns: int) -> HostReading:
        begun_s.append(trio.current_time())
        passed_ns = round((trio.current_time() - begun_s[0]) * S)
        return HostReading(passed_ns, began_ns + passed_ns, interval_ns, ())

    at = [round(at_s, 3) for at_s, _ in sampled_at(take, 112)]
    assert [at_s for at_s in at if 34 <= at_s < 44] == [35, 37.05, 42.05]
    assert [at_s for at_s in at if 90 <= at_s < 104] == [92.05, 97.05, 102.05]  # and from then on not one more


def test_hosts_of_a_fleet_do_not_all_close_their_windows_at_once() -> None:
    config = DaemonConfig()
    lags_s = [make_cadence(config.sampling, config.metering).after_edge_s for _ in range(100)]
    assert 0.05 <= min(lags_s) < 0.4 and 0.6 < max(lags_s) <= 1.0
    fast = make_cadence(SamplingConfig(0.2, 0.2), config.metering)
    assert 0.05 <= fast.after_edge_s <= 0.2 and fast.window_ns == 60 * S


def test_a_reading_says_what_is_known_of_the_clocks() -> None:
    async def take(interval_ns: int) -> HostReading:
        return reading(interval_ns, 1)

    told = trio.run(with_clock(take, lambda: (ClockState.UNSYNCED, 7 * S)), S)
    assert (told.clock, told.suspended_ns, told.interval_ns) == (ClockState.UNSYNCED, 7 * S, S)
    assert told.readings == reading(S, 1).readings
