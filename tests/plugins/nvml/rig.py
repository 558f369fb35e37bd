"""A probe with real children on a simulated host."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from gputally.model.reading import DeviceGap, DeviceReading, GapReason, HostReading
from gputally.plugins.nvml.probe import NvmlProbe, Patience
from gputally.simulator.scenario import LOOK_EVERY_NS, Fault, Scenario, driver_environment

S = 1_000_000_000
EVERY_NS = S // 5
DEADLINE_S = 1.0
HASTY = Patience(init_ns=2 * S, open_ns=S, retry_ns=S // 10, retry_cap_ns=S // 5, renew_ns=S // 10, renew_cap_ns=S // 5)


class Host:
    """The scenario in force, and the probe that reads it."""

    def __init__(
        self, folder: Path, scenario: Scenario, patience: Patience, deadline_s: float, accounting: bool = False
    ) -> None:
        self.scenario = scenario
        self._file = folder / "scenario"
        scenario.write(self._file)
        environment = {**os.environ, **driver_environment(self._file)}
        self.probe = NvmlProbe(deadline_s, patience=patience, environment=environment, accounting=accounting)

    async def becomes(self, scenario: Scenario) -> None:
        """Returns when every process on the host sees it."""
        self.scenario = scenario
        scenario.write(self._file)
        await trio.sleep(2 * LOOK_EVERY_NS / S)

    async def read(self) -> HostReading:
        return await self.probe.read(EVERY_NS)

    async def timed_read(self) -> tuple[HostReading, float]:
        begin_s = trio.current_time()
        return await self.read(), trio.current_time() - begin_s

    async def until(self, wanted: Callable[[HostReading], bool], within_s: float = 10) -> HostReading:
        """Reads tick by tick until a reading is as wanted."""
        with trio.fail_after(within_s):
            while True:
                reading = await self.read()
                if wanted(reading):
                    return reading
                await trio.sleep(EVERY_NS / S)


def on_host(
    folder: Path,
    scenario: Scenario,
    story: Callable[[Host], Awaitable[None]],
    *,
    patience: Patience = HASTY,
    deadline_s: float = DEADLINE_S,
    accounting: bool = False,
) -> None:
    async def main() -> None:
        host = Host(folder, scenario, patience, deadline_s, accounting)
        try:
            with trio.fail_after(30):
                await story(host)
        finally:
            await host.probe.aclose(2)

    trio.run(main)


def good(reading: HostReading) -> dict[int, DeviceReading]:
    """By the device's place in the list, which in a scenario is its index."""
    return {i: one for i, one in enumerate(reading.readings) if isinstance(one, DeviceReading)}


def gaps(reading: HostReading) -> dict[int, GapReason]:
    return {i: one.reason for i, one in enumerate(reading.readings) if isinstance(one, DeviceGap)}


def all_good(reading: HostReading) -> bool:
    return bool(reading.readings) and not gaps(reading)


def hang(device: int | None = None, call: str = "nvmlDeviceGet*") -> Fault:
    return Fault(call, device=device, hang=True)
