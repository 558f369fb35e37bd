"""Attribution as the daemon runs it."""

import time
from contextlib import closing

import pytest
import trio
import trio.testing

from gputally.daemon.attributing import follow_processes, open_attributor
from gputally.daemon.config import AttributionConfig
from gputally.model.reading import DeviceReading, HostReading, PassedProcess
from gputally.model.settings import BadSettings
from gputally.plugins.attribution.attributor import make_attributor
from gputally.plugins.attribution.connector import ConnectorUnusable
from gputally.plugins.attribution.kernel import Happening
from gputally.simulator.memory_kernel import MemoryKernel

S = 1_000_000_000


def test_a_process_connector_that_is_not_to_be_had_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConnectorUnusable("the process connector needs CAP_NET_ADMIN")

    monkeypatch.setattr("gputally.plugins.attribution.real_kernel.ProcessConnector", refuse)
    with pytest.raises(BadSettings, match=r"attribution\.process_connector: .*CAP_NET_ADMIN"):
        open_attributor(AttributionConfig(process_connector=True))


@pytest.mark.root
def test_a_real_process_is_remembered_when_it_has_come_and_gone_without_a_tick() -> None:
    try:
        attributor = make_attributor("/proc", "/sys/fs/cgroup", [], process_connector=True)
    except ConnectorUnusable as why:
        pytest.skip(f"no process connector: {why}")

    async def run_a_job() -> tuple[int, int]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_processes, attributor)
            child = await trio.lowlevel.open_process(["sleep", "1"])
            used_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + S // 2
            await child.wait()
            nursery.cancel_scope.cancel()
        return child.pid, used_ns

    with closing(attributor):
        pid, used_ns = trio.run(run_a_job)
        device = DeviceReading("nvidia:GPU-0", used_ns + S, passed=(PassedProcess(pid, (used_ns,)),))
        told = attributor.attribute(HostReading(used_ns + S, 0, S, (device,))).passed[pid]
    assert told.holder.process.pid == pid
    assert told.start_ns is not None
    assert told.end_ns is not None
    assert told.start_ns < used_ns < told.end_ns


class CountedKernel(MemoryKernel):
    """Its clock is trio's, and it counts how often it was asked what happened."""

    def __init__(self) -> None:
        super().__init__(lambda: round((1000 + trio.current_time()) * S), room=100)
        self.rounds = 0
        assert self.happenings is not None
        self._collect = self.happenings.collect
        self.happenings.collect = self._count  # type: ignore[method-assign]

    def _count(self) -> list[Happening]:
        self.rounds += 1
        return self._collect()


def test_a_quiet_host_is_left_in_peace() -> None:
    """One that comes and goes at once costs one round; one that stays costs one, and one for its end."""

    async def main() -> None:
        kernel = CountedKernel()
        attributor = make_attributor("/proc", "/", [], kernel=kernel.as_kernel())
        with closing(attributor):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow_processes, attributor)
                await trio.sleep(3600)
                assert kernel.rounds == 0
                kernel.start(7, "/a")
                kernel.end(7)
                await trio.sleep(3600)
                assert kernel.rounds == 1
                kernel.start(7, "/a")
                await trio.sleep(3600)
                assert kernel.rounds == 2
                kernel.end(7)
                await trio.sleep(3600)
                assert kernel.rounds == 3
                nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_host_where_processes_begin_all_the_time_costs_twenty_rounds_a_second() -> None:
    async def main() -> None:
        kernel = CountedKernel()
        attributor = make_attributor("/proc", "/", [], kernel=kernel.as_kernel())
        with closing(attributor):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow_processes, attributor)
                for pid in range(1, 1001):
                    kernel.start(pid, "/a")
                    await trio.sleep(0.001)
                    kernel.end(pid)
                assert 15 <= kernel.rounds <= 21
                nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
