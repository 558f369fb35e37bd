"""Readings of a real child on the fake driver: what is told is true, and nothing else is told."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gputally.model.reading import GapReason, ProcessOnDevice
from gputally.plugins.nvml.clocks import TRIES, both_clocks
from gputally.simulator.scenario import Fault, Quirk, Scenario, SimProcess, Step, boottime_ns, energy_mj

from .rig import Host, S, all_good, gaps, good, on_host

GIB = 1 << 30
BUSY = SimProcess(4001, memory_bytes=10 * GIB)


def test_eight_gpus_are_enumerated_once_and_read_every_tick(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        first, second = await host.read(), await host.read()
        assert [d.device_id for d in first.devices] == [f"nvidia:{d.uuid}" for d in host.scenario.devices]
        assert {d.model for d in first.devices} == {"NVIDIA H100 80GB HBM3"}
        assert first.devices[0].memory_bytes == host.scenario.devices[0].memory_bytes
        assert second.devices == first.devices
        assert len(good(first)) == len(good(second)) == 8
        assert second.trouble is None

    on_host(tmp_path, Scenario.host(8), story)


def test_a_reading_says_who_is_on_a_device_and_how_busy_it_is(tmp_path: Path) -> None:
    scenario = Scenario.host(2).with_process(0, BUSY).with_utilization(0, 87)

    async def story(host: Host) -> None:
        reading = good(await host.read())
        assert reading[0].processes == (ProcessOnDevice(4001, 10 * GIB),)
        assert reading[0].utilization_percent == 87
        assert reading[0].memory_used_bytes == 10 * GIB
        assert reading[1].processes == ()
        assert reading[1].memory_used_bytes == 0

    on_host(tmp_path, scenario, story)


def test_energy_is_the_drivers_counter_at_the_stamp_of_the_reading(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    power = (Step(now_ns - 60 * S, 312_345), Step(now_ns - 7 * S, 699_999))
    scenario = Scenario.host(2).with_power(1, power)

    async def story(host: Host) -> None:
        for _ in range(5):
            before_ns = boottime_ns()
            for index, one in good(await host.read()).items():
                device = host.scenario.devices[index]
                assert before_ns <= one.at_ns <= boottime_ns()
                assert one.energy_mj is not None
                assert energy_mj(device, one.at_ns) <= one.energy_mj <= energy_mj(device, boottime_ns())
            await trio.sleep(0.05)

    on_host(tmp_path, scenario, story)


def test_stamps_rise_and_lie_within_the_tick(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        last_ns = 0
        for _ in range(5):
            reading = await host.read()
            for one in reading.readings:
                assert last_ns < one.at_ns <= reading.boot_ns
            last_ns = reading.boot_ns

    on_host(tmp_path, Scenario.host(4), story)


@pytest.mark.parametrize(("slow_looks", "asked"), [(0, 1), (2, 3), (99, TRIES)])
def test_both_clocks_are_of_one_instant_unless_the_machine_never_lets_us(
    monkeypatch: pytest.MonkeyPatch, slow_looks: int, asked: int
) -> None:
    looks = [0]
    wall_ns = time.time_ns

    def preempted() -> int:
        looks[0] += 1
        if looks[0] <= slow_looks:
            time.sleep(0.01)
        return wall_ns()

    monkeypatch.setattr(time, "time_ns", preempted)
    before_ns = boottime_ns()
    boot_ns, told_ns = both_clocks()
    assert looks[0] >= asked
    assert looks[0] <= TRIES
    assert before_ns <= boot_ns <= boottime_ns()
    if slow_looks < TRIES:
        apart_ns = (told_ns - boot_ns) - (wall_ns() - boottime_ns())
        assert abs(apart_ns) < 3_000_000


def test_a_process_is_seen_as_soon_as_it_is_there_and_no_longer_than_it_is(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert good(await host.read())[0].processes == ()
        await host.becomes(host.scenario.with_process(0, BUSY))
        assert [p.pid for p in good(await host.read())[0].processes] == [4001]
        await host.becomes(host.scenario.with_ended(0, 4001, boottime_ns()))
        assert good(await host.read())[0].processes == ()

    on_host(tmp_path, Scenario.host(1), story)


def test_a_process_in_two_lists_counts_once_with_its_largest_memory(tmp_path: Path) -> None:
    twice = Scenario.host(1).with_process(0, BUSY)
    twice = twice.with_process(0, SimProcess(4001, memory_bytes=12 * GIB, kind="graphics"))
    twice = twice.with_process(0, SimProcess(4002, memory_bytes=GIB, kind="mps"))

    async def story(host: Host) -> None:
        for _ in range(12):  # those lists are asked for rarely; what they said stays until then
            told = {p.pid: p.memory_bytes for p in good(await host.read())[0].processes}
            assert told == {4001: 12 * GIB, 4002: GIB}

    on_host(tmp_path, twice, story)


def test_a_graphics_process_is_noticed_within_ten_ticks(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_process(0, SimProcess(4003, kind="graphics")))
        ticks = [[p.pid for p in good(await host.read())[0].processes] for _ in range(10)]
        assert [4003] in ticks

    on_host(tmp_path, Scenario.host(1), story)


def test_a_crowd_that_does_not_fit_the_buffer_is_told_whole(tmp_path: Path) -> None:
    crowd = replace(
        Scenario.host(1).devices[0], processes=tuple(SimProcess(pid, memory_bytes=1) for pid in range(1, 901))
    )

    async def story(host: Host) -> None:
        assert {p.pid for p in good(await host.read())[0].processes} == set(range(1, 901))

    on_host(tmp_path, Scenario.host(1).with_device(crowd), story)


def test_memory_of_a_process_that_the_driver_does_not_know_is_not_zero(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert good(await host.read())[0].processes == (ProcessOnDevice(7, None),)

    on_host(tmp_path, Scenario.host(1).with_process(0, SimProcess(7, memory_bytes=None)), story)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("nvmlDeviceGetUtilizationRates", "utilization_percent"),
        ("nvmlDeviceGetMemoryInfo", "memory_used_bytes"),
        ("nvmlDeviceGetTotalEnergyConsumption", "energy_mj"),
    ],
)
@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "UNKNOWN", "TIMEOUT"])
def test_a_value_that_cannot_be_read_is_absent_and_no_gap(tmp_path: Path, call: str, value: str, error: str) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(Fault(call, error, device=1)))
        reading = good(await host.read())
        assert getattr(reading[1], value) is None
        assert getattr(reading[0], value) is not None
        assert sorted(reading) == [0, 1]

    on_host(tmp_path, Scenario.host(2).with_process(1, BUSY), story)


def test_what_a_board_does_not_support_is_not_asked_again_and_what_passes_is(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        calls = (await host.read()).driver_calls and (await host.read()).driver_calls
        for error, asked in (("TIMEOUT", calls), ("NOT_SUPPORTED", calls - 1)):
            fault = Fault("nvmlDeviceGetUtilizationRates", error, device=0)
            await host.becomes(host.scenario.without_faults().with_fault(fault))
            await host.read()
            assert (await host.read()).driver_calls == asked
            await host.becomes(host.scenario.without_faults())
            known = good(await host.read())[0].utilization_percent is not None
            assert known == (error == "TIMEOUT")

    on_host(tmp_path, Scenario.host(1), story)


def test_an_old_driver_without_the_second_memory_call_still_tells_memory(tmp_path: Path) -> None:
    fault = Fault("nvmlDeviceGetMemoryInfo_v2", "FUNCTION_NOT_FOUND")
    scenario = Scenario.host(1).with_process(0, BUSY).with_fault(fault)

    async def story(host: Host) -> None:
        device = host.scenario.devices[0]
        assert good(await host.read())[0].memory_used_bytes == 10 * GIB + device.reserved_bytes

    on_host(tmp_path, scenario, story)


def test_a_board_without_memory_of_its_own_is_metered_all_the_same(tmp_path: Path) -> None:
    fault = Fault("nvmlDeviceGetMemoryInfo*", "NOT_SUPPORTED")

    async def story(host: Host) -> None:
        reading = await host.read()
        assert reading.devices[0].memory_bytes == 0
        assert good(reading)[0].processes == (ProcessOnDevice(4001, 10 * GIB),)
        assert good(reading)[0].memory_used_bytes is None

    on_host(tmp_path, Scenario.host(1).with_process(0, BUSY).with_fault(fault), story)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("GPU_IS_LOST", GapReason.GPU_LOST),
        ("UNKNOWN", GapReason.NVML_ERROR),
        ("TIMEOUT", GapReason.NVML_ERROR),
        ("NOT_SUPPORTED", GapReason.NVML_ERROR),
    ],
)
def test_a_device_without_its_process_list_is_a_gap_with_a_reason(
    tmp_path: Path, error: str, reason: GapReason
) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(Fault("nvmlDeviceGetComputeRunningProcesses", error, device=1)))
        reading = await host.read()
        assert gaps(reading) == {1: reason}
        assert sorted(good(reading)) == [0, 2]
        assert reading.trouble is None

    on_host(tmp_path, Scenario.host(3), story)


@pytest.mark.parametrize(
    "process", [SimProcess((1 << 22) + 1), SimProcess(9, memory_bytes=200 * GIB), SimProcess(9, gpu_instance=9999)]
)
def test_rows_that_cannot_be_true_bill_nobody(tmp_path: Path, process: SimProcess) -> None:
    async def story(host: Host) -> None:
        assert gaps(await host.read()) == {0: GapReason.BAD_READING}
        await host.becomes(host.scenario.without_process(0, process.pid))
        assert all_good(await host.read())

    on_host(tmp_path, Scenario.host(2).with_process(0, BUSY).with_process(0, process), story)


def quirky(*quirks: Quirk) -> Scenario:
    """One GPU with two busy processes and a driver with bad habits."""
    scenario = Scenario.host(1).with_process(0, replace(BUSY, sm_percent=70))
    scenario = scenario.with_process(0, SimProcess(4002, memory_bytes=GIB, sm_percent=20))
    return scenario.with_device(replace(scenario.devices[0], quirks=quirks))


@pytest.mark.parametrize("quirks", [(), ("zeros",), ("junk",), ("empty_success",), ("stale_count", "zeros", "junk")])
def test_utilization_by_process_is_what_was_sampled_and_junk_is_not(tmp_path: Path, quirks: tuple[Quirk, ...]) -> None:
    async def story(host: Host) -> None:
        seen: dict[int, set[int | None]] = {}
        for _ in range(12):
            for process in good(await host.read())[0].processes:
                seen.setdefault(process.pid, set()).add(process.sm_percent)
            await trio.sleep(0.05)
        # None: no new sample since the tick before, as samples come six times a second.
        assert seen == {4001: {70, None}, 4002: {20, None}}

    on_host(tmp_path, quirky(*quirks), story)


def test_a_driver_that_made_its_rows_longer_is_a_gap_and_no_bill(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        assert gaps(await host.read()) == {0: GapReason.BAD_READING}

    on_host(tmp_path, quirky("wide_rows"), story)


def test_a_tick_of_eight_busy_gpus_costs_at_most_64_calls(tmp_path: Path) -> None:
    scenario = Scenario.host(8)
    for index in range(64):
        scenario = scenario.with_process(index % 8, SimProcess(5000 + index, sm_percent=12))

    async def story(host: Host) -> None:
        await host.read()
        calls = [(await host.read()).driver_calls for _ in range(20)]
        assert max(calls) <= 64
        assert sum(calls) / len(calls) <= 50
        assert host.probe.driver_calls == calls[-1]

    on_host(tmp_path, scenario, story)


def test_a_process_that_came_while_another_list_could_not_be_read_is_there_when_it_can(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        await host.read()
        await host.becomes(host.scenario.with_fault(Fault("nvmlDeviceGetGraphicsRunningProcesses", "UNKNOWN")))
        await host.until(lambda reading: bool(gaps(reading)))  # that list is due now and then
        await host.becomes(host.scenario.with_process(0, BUSY))
        assert gaps(await host.read()) == {0: GapReason.NVML_ERROR}
        await host.becomes(host.scenario.without_faults())
        assert [p.pid for p in good(await host.read())[0].processes] == [4001]

    on_host(tmp_path, Scenario.host(1), story)
