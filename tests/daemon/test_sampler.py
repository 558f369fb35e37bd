"""The sampler's rhythm, on a clock that jumps."""

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from gputally.daemon.sampler import Cadence, sample
from gputally.model.reading import DeviceGap, DeviceReading, GapReason, HostReading, ProcessOnDevice

S = 1_000_000_000


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
        stopping = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sample, take, offer, Cadence(1.0, 5.0), stopping, missed.append)
            await trio.sleep(for_s)
            stopping.set()

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
