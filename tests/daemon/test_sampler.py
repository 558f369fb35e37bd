"""The sampler's rhythm, on a clock that jumps."""

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from gputally.daemon.sampler import Cadence, sample
from gputally.model.reading import DeviceReading, HostReading, ProcessOnDevice

S = 1_000_000_000


def reading(interval_ns: int, *pids: int) -> HostReading:
    device = DeviceReading("nvidia:GPU-0", 0, tuple(ProcessOnDevice(pid) for pid in pids))
    return HostReading(0, 0, interval_ns, (device,))


def sampled_at(take: Callable[[int], Awaitable[HostReading]], for_s: float) -> list[tuple[float, int]]:
    """(when, told cadence in ns) of every reading that was offered."""
    seen: list[tuple[float, int]] = []

    def offer(told: HostReading) -> bool:
        seen.append((trio.current_time(), told.interval_ns))
        return True

    async def main() -> None:
        stopping = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sample, take, offer, Cadence(1.0, 5.0), stopping)
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
