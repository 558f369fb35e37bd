"""What drivers have been seen to say that cannot be; and boards that cannot say everything."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gputally.simulator.scenario import Quirk, Scenario, SimDevice, SimProcess, Step, boottime_ns, energy_mj

from .client import Client, on_host

NOT_SUPPORTED, INSUFFICIENT_SIZE, IS_LOST = 3, 7, 15
MS_NS = 1_000_000
COMPUTE, DETAILS = "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetRunningProcessDetailList"
ENERGY = "nvmlDeviceGetTotalEnergyConsumption(gpu(0))"


def odd(*quirks: Quirk, processes: tuple[SimProcess, ...] = (SimProcess(7, sm_percent=40),)) -> Scenario:
    device = SimDevice("GPU-a", utilization_percent=55, processes=processes, quirks=quirks)
    return Scenario((device,), sample_period_ns=20 * MS_NS)


def rows(client: Client) -> list[tuple[int, int]]:
    return [(row["pid"], row["usedGpuMemory"]) for row in client.ask(f"{COMPUTE}(gpu(0))")]


def test_utilization_can_be_far_above_a_hundred(tmp_path: Path) -> None:
    with on_host(tmp_path, odd("wild_utilization")) as client:
        assert client.ask("nvmlDeviceGetUtilizationRates(gpu(0)).gpu") == 37_100
        (row,) = client.ask("nvmlDeviceGetProcessUtilization(gpu(0), 1)")
        assert (row["pid"], row["smUtil"]) == (7, 37_100)


def test_a_list_can_have_pids_that_cannot_be(tmp_path: Path) -> None:
    with on_host(tmp_path, odd("odd_pids")) as client:
        assert [pid for pid, _ in rows(client)] == [7, 0, 2**22 + 1, 2**32 - 1]
        assert client.ask("nvmlDeviceGetGraphicsRunningProcesses(gpu(0))") == []
        everyone = client.ask(f"{DETAILS}(gpu(0), nvmlProcessDetailList_v1, 3)")
        assert [row["pid"] for row in everyone] == [7, 0, 2**22 + 1, 2**32 - 1]


def test_a_list_can_be_padded_with_zeros(tmp_path: Path) -> None:
    with on_host(tmp_path, odd("zero_rows")) as client:
        assert rows(client) == [(7, 1 << 30), (0, 0), (0, 0)]
        assert client.ask(f"{COMPUTE}(gpu(0))[1].gpuInstanceId") == 0
        client.becomes(odd("zero_rows", processes=()))
        assert rows(client) == [(0, 0), (0, 0)]


def test_processes_can_hold_more_memory_than_there_is(tmp_path: Path) -> None:
    with on_host(tmp_path, odd("huge_memory", processes=(SimProcess(7), SimProcess(8, memory_bytes=None)))) as client:
        total = client.ask("nvmlDeviceGetMemoryInfo(gpu(0)).total")
        assert rows(client) == [(7, 2 * total), (8, None)]


def test_a_list_can_outgrow_a_caller_who_makes_room_for_what_it_was_told(tmp_path: Path) -> None:
    """One more each time; who asks for some more than that is served."""
    with on_host(tmp_path, odd("growing_list", processes=tuple(SimProcess(i) for i in (1, 2, 3)))) as client:
        client.ask("kept.update(count=c_uint(0), rows=(c_nvmlProcessInfo_v3_t * 16)())")
        call = f"raw('{COMPUTE}_v3', gpu(0), byref(kept['count']), kept['rows'])"
        counts = []
        while client.ask(call) == INSUFFICIENT_SIZE:
            counts.append(client.ask("kept['count'].value"))
        assert counts == [3, 4, 5, 6, 7]
        assert client.ask("kept['count'].value") == 3
        assert [pid for pid, _ in rows(client)] == [1, 2, 3], "pynvml asks for more than twice as much"


# ---- the energy counter


def test_the_counter_can_go_backwards_without_a_reload_of_the_driver(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    device = SimDevice("GPU-a", power_mw=(Step(0, 10**6), Step(now_ns, 0)), energy_origin_ns=now_ns - 300 * MS_NS)
    host = Scenario((device,))
    with on_host(tmp_path, host) as client:
        assert client.ask(ENERGY) == 300_000
        host = host.with_energy_step(0, now_ns - 100 * MS_NS)
        client.becomes(host)
        assert client.ask(ENERGY) == 100_000
        client.becomes(host.with_energy_step(0, now_ns - 50 * MS_NS, 120_000))
        assert client.ask(ENERGY) == 170_000
        assert client.ask("nvmlDeviceGetCount()") == 1, "it is the same driver"
        client.becomes(host.with_driver_reload(now_ns - 20 * MS_NS))
        client.ask("[nvmlShutdown(), nvmlInit()]")
        assert client.ask(ENERGY) == 20_000, "a load comes after all that was before it"


@st.composite
def set_counters(draw: st.DrawFn) -> SimDevice:
    def steps(most: int, largest: int) -> tuple[Step, ...]:
        times = sorted(draw(st.sets(st.integers(0, 10**9), max_size=most)))
        return tuple(Step(at, draw(st.integers(0, largest))) for at in times)

    power = (*steps(6, 2_000_000_000), Step(10**9 + 1, 0))
    return SimDevice("", power_mw=power, energy_steps_mj=steps(4, 2**40), energy_origin_ns=draw(st.integers(0, 10**9)))


def test_a_counter_that_was_set_is_right_to_the_millijoule(tmp_path: Path) -> None:
    names = [f"GPU-{i}" for i in range(16)]
    with on_host(tmp_path, Scenario(tuple(map(SimDevice, names)))) as client:

        @settings(max_examples=15, deadline=None)
        @given(st.lists(set_counters(), min_size=16, max_size=16))
        def check(devices: list[SimDevice]) -> None:
            host = Scenario(tuple(replace(d, uuid=name) for d, name in zip(devices, names, strict=True)))
            client.becomes(host)
            told = client.ask("[nvmlDeviceGetTotalEnergyConsumption(gpu(i)) for i in range(16)]")
            assert told == [energy_mj(device, boottime_ns()) for device in host.devices]

        check()


# ---- boards that cannot say everything


def test_a_board_without_an_energy_counter_still_tells_its_power(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario((SimDevice("GPU-a", energy="unsupported", power_mw=70_000),))) as client:
        assert client.code(ENERGY) == NOT_SUPPORTED
        assert client.ask("nvmlDeviceGetPowerUsage(gpu(0))") == 70_000
        energy, power = client.ask("nvmlDeviceGetFieldValues(gpu(0), [83, NVML_FI_DEV_POWER_INSTANT])")
        assert (energy["nvmlReturn"], power["nvmlReturn"]) == (NOT_SUPPORTED, 0)


def test_a_board_may_not_know_how_busy_it_is(tmp_path: Path) -> None:
    host = odd()
    host = host.with_accounting(0).with_device(
        replace(host.with_accounting(0).devices[0], utilization="unsupported", utilization_percent=50)
    )
    with on_host(tmp_path, host) as client:
        for call in ("GetUtilizationRates(gpu(0))", "GetProcessUtilization(gpu(0), 1)", "GetSamples(gpu(0), 1, 0)"):
            assert client.code(f"nvmlDevice{call}") == NOT_SUPPORTED
        assert [pid for pid, _ in rows(client)] == [7]
        assert client.ask("nvmlDeviceGetAccountingStats(gpu(0), 7).gpuUtilization") == 2**32 - 1


# ---- devices that come back elsewhere


def test_a_device_that_returns_can_have_changed_places_with_others(tmp_path: Path) -> None:
    host = Scenario.host(3)
    uuids = [device.uuid for device in host.devices]
    order = "[nvmlDeviceGetUUID(gpu(i)) for i in range(nvmlDeviceGetCount())]"
    with on_host(tmp_path, host) as client:
        client.ask("kept.update(held=[gpu(0), gpu(1)])")
        client.becomes(host.with_lost(2))
        assert client.code("nvmlDeviceGetUUID(gpu(2))") == IS_LOST
        back = host.with_lost(2).with_returned(2).with_order(2, 1)
        assert [device.uuid for device in back.devices] == [uuids[2], uuids[1], uuids[0]]
        client.becomes(back)
        assert client.ask("[nvmlDeviceGetUUID(h) for h in kept['held']]") == uuids[:2], "until somebody initialises"
        client.ask("[nvmlShutdown(), nvmlInit()]")
        assert client.ask(order) == [uuids[2], uuids[1], uuids[0]]
        assert client.ask(f"nvmlDeviceGetIndex(nvmlDeviceGetHandleByUUID({uuids[0]!r}))") == 2
