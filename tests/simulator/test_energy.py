"""The energy counter is the exact integral of power, whoever asks, whenever, however often."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputally.simulator.scenario import Scenario, SimDevice, Step, boottime_ns, energy_mj

from .client import Client, on_host

READ = "nvmlDeviceGetTotalEnergyConsumption(gpu({}))"
READ_ALL = "[nvmlDeviceGetTotalEnergyConsumption(gpu(i)) for i in range(nvmlDeviceGetCount())]"
DAY_NS = 86_400 * 10**9


@st.composite
def past_devices(draw: st.DrawFn) -> SimDevice:
    """Power that has ended before the machine's first second, so that the counter stands still."""
    times = draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=12, unique=True).map(sorted))
    powers = draw(st.lists(st.integers(0, 2_000_000_000), min_size=len(times), max_size=len(times)))
    steps = tuple(Step(at, power) for at, power in zip(times, powers, strict=True))
    origin_ns = draw(st.integers(0, 10**9))
    return SimDevice("", power_mw=(*steps, Step(10**9 + 1, 0)), energy_origin_ns=origin_ns)


def test_the_counter_equals_the_integral_in_whole_numbers(tmp_path: Path) -> None:
    names = [f"GPU-{i}" for i in range(16)]
    with on_host(tmp_path, Scenario(tuple(map(SimDevice, names)))) as client:

        @settings(max_examples=20, deadline=None)
        @given(st.lists(past_devices(), min_size=16, max_size=16))
        def check(devices: list[SimDevice]) -> None:
            host = Scenario(tuple(replace(d, uuid=name) for d, name in zip(devices, names, strict=True)))
            client.becomes(host)
            now_ns = boottime_ns()
            assert client.ask(READ_ALL) == [energy_mj(device, now_ns) for device in host.devices]

        check()


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 10**6)), min_size=1), st.integers(0, 2000))
def test_the_integral_is_the_sum_over_single_nanoseconds(pieces: list[tuple[int, int]], until_ns: int) -> None:
    """The oracle itself, against the plainest sum there is."""
    starts = itertools.accumulate((length for length, _ in pieces), initial=0)
    steps = tuple(Step(at, power) for at, (_, power) in zip(starts, pieces, strict=False))
    ends = [step.at_ns for step in steps[1:]] + [10**9]
    counted = sum(step.value for step, end in zip(steps, ends, strict=True)
                  for ns in range(step.at_ns, min(end, until_ns)) if ns >= 5)  # fmt: skip
    assert energy_mj(SimDevice("GPU-a", power_mw=steps, energy_origin_ns=5), until_ns) == counted // 10**9


def test_a_moving_counter_is_right_to_the_millijoule(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    steps = tuple(Step(now_ns + i * 1_000_000, 600_000_000 + i * 977) for i in range(-500, 1500))
    device = SimDevice("GPU-a", power_mw=steps, energy_origin_ns=now_ns - 300_000_000)
    with on_host(tmp_path, Scenario((device,))) as client:
        last = 0
        for _ in range(200):
            before_ns, read, after_ns = boottime_ns(), client.ask(READ.format(0)), boottime_ns()
            assert energy_mj(device, before_ns) <= read <= energy_mj(device, after_ns)
            assert read >= last
            last = read


def test_a_century_at_full_power_does_not_overflow(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario((SimDevice("GPU-a", power_mw=(Step(0, 2**31), Step(1, 0))),))) as client:
        assert client.ask(READ.format(0)) == 2  # 2**31 picojoules
        century = (Step(0, 2_000_000), Step(boottime_ns() // 2, 2**62), Step(boottime_ns() // 2 + 1, 0))
        device = SimDevice("GPU-a", power_mw=century)
        client.becomes(Scenario((device,)))
        assert client.ask(READ.format(0)) == energy_mj(device, boottime_ns())


def test_a_replaced_scenario_neither_loses_nor_doubles_a_millijoule(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    host = Scenario((SimDevice("GPU-a", power_mw=(Step(now_ns - 10**9, 10**9),)),))
    with on_host(tmp_path, host) as client:
        for i in range(5):
            before = client.ask(READ.format(0))
            host = host.with_utilization(0, i)
            client.becomes(host)
            assert before < client.ask(READ.format(0)) <= energy_mj(host.devices[0], boottime_ns())


def test_two_programs_read_the_same_counter(tmp_path: Path) -> None:
    host = Scenario((SimDevice("GPU-a", power_mw=(Step(10, 700_000_123), Step(10**9, 0))),))
    with on_host(tmp_path, host) as one:
        two = Client(one.scenario)
        try:
            two.ask("nvmlInit()")
            assert one.ask(READ.format(0)) == two.ask(READ.format(0)) == energy_mj(host.devices[0], boottime_ns())
        finally:
            two.close()


@pytest.mark.parametrize("origin_ns", [0, 10**9, DAY_NS * 36_500])
def test_energy_counts_from_its_origin(tmp_path: Path, origin_ns: int) -> None:
    device = SimDevice("GPU-a", power_mw=(Step(0, 10**9), Step(3 * 10**9, 0)), energy_origin_ns=origin_ns)
    with on_host(tmp_path, Scenario((device,))) as client:
        expected = {0: 3 * 10**9, 10**9: 2 * 10**9}.get(origin_ns, 0)
        assert client.ask(READ.format(0)) == expected == energy_mj(device, boottime_ns())
