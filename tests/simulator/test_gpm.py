"""GPM: activity of a device or an instance between two samples, on the boards that have it."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from gputally.simulator.scenario import Scenario, SimDevice, SimInstance, Step, boottime_ns, cut_into

from .client import Client, on_host

INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND, NO_DATA, MEMORY, VERSION_MISMATCH = 2, 3, 6, 21, 20, 25
MS_NS = 1_000_000
H100 = "NVIDIA H100 80GB HBM3"
PREPARE = "kept.update(get=c_nvmlGpmMetricsGet_t(), one=nvmlGpmSampleAlloc(), two=nvmlGpmSampleAlloc())"
IDS = ("NVML_GPM_METRIC_GRAPHICS_UTIL", "NVML_GPM_METRIC_SM_UTIL", "NVML_GPM_METRIC_FP64_UTIL", "0")


def compare(client: Client) -> list[tuple[int, float]]:
    """Answer and value of each metric."""
    settings = {"version": "NVML_GPM_METRICS_GET_VERSION", "numMetrics": str(len(IDS)), "sample1": "kept['one']",
                "sample2": "kept['two']"}  # fmt: skip
    for key, value in settings.items():
        client.ask(f"setattr(kept['get'], {key!r}, {value})")
    for i, metric in enumerate(IDS):
        client.ask(f"setattr(kept['get'].metrics[{i}], 'metricId', {metric})")
    client.ask("nvmlGpmMetricsGet(kept['get']).numMetrics")
    rows = client.ask(f"[(m.nvmlReturn, m.value) for m in kept['get'].metrics[:{len(IDS)}]]")
    return [(code, value) for code, value in rows]


def read(client: Client, which: str, handle: str = "gpu(0)", gpu_instance: int | None = None) -> int:
    call = "nvmlGpmSampleGet({}, kept[{!r}])" if gpu_instance is None else "nvmlGpmMigSampleGet({}, {ids}, kept[{!r}])"
    return client.code(call.format(handle, which, ids=gpu_instance))


def test_hopper_and_later_boards_have_it(tmp_path: Path) -> None:
    names = [H100, "NVIDIA H200", "NVIDIA B200", "NVIDIA A100-SXM4-80GB", "Tesla T4", "NVIDIA L40S"]
    devices = [SimDevice(f"GPU-{i}", name) for i, name in enumerate(names)]
    devices += [
        replace(devices[0], uuid="GPU-off", gpm="unsupported"),
        replace(devices[4], uuid="GPU-on", gpm="supported"),
    ]
    with on_host(tmp_path, Scenario(tuple(devices))) as client:
        supported = [client.ask(f"nvmlGpmQueryDeviceSupport(gpu({i})).isSupportedDevice") for i in range(len(devices))]
        assert supported == [1, 1, 1, 0, 0, 0, 0, 1]
        client.ask(PREPARE)
        assert [read(client, "one", f"gpu({i})") for i in (0, 3)] == [0, NOT_SUPPORTED]
        assert (
            client.ask("raw('nvmlGpmQueryDeviceSupport', gpu(0), byref(c_nvmlGpmSupport_t(version=7)))")
            == VERSION_MISMATCH
        )


def test_two_samples_give_the_mean_between_them_exactly(tmp_path: Path) -> None:
    """The driver refreshes each 100 ms, so the mean is over whole refreshes."""
    now_ns = boottime_ns()
    grid_ns = (now_ns // (100 * MS_NS) + 4) * 100 * MS_NS
    busy = (Step(0, 30), Step(grid_ns, 90), Step(grid_ns + 100 * MS_NS, 10))
    host = Scenario((SimDevice("GPU-a", utilization_percent=busy, sm_utilization_percent=25),))
    with on_host(tmp_path, host) as client:
        client.ask(PREPARE)
        assert read(client, "one") == 0
        first_ns = boottime_ns() // (100 * MS_NS) * 100 * MS_NS
        time.sleep(max(0, grid_ns + 250 * MS_NS - boottime_ns()) / 1e9)
        assert read(client, "two") == 0
        last_ns = boottime_ns() // (100 * MS_NS) * 100 * MS_NS
        (code, mean), sm, unknown, invalid = compare(client)
        assert code == 0
        assert sm == (0, 25.0)
        assert (unknown[0], invalid[0]) == (NOT_SUPPORTED, INVALID_ARGUMENT)
        refreshes = (last_ns - first_ns) // (100 * MS_NS)
        before = (grid_ns - first_ns) // (100 * MS_NS)
        expected = (before * 30 + 90 + (refreshes - before - 1) * 10) / refreshes
        other = (before * 30 + 30 + 90 + (refreshes - before - 1) * 10) / (refreshes + 1)
        assert any(abs(mean - one) < 1e-9 for one in (expected, other)), (
            "the first was read before we looked at the clock"
        )


def test_two_samples_of_one_refresh_tell_nothing(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(1).with_utilization(0, 50)) as client:
        client.ask(PREPARE)
        codes = set()
        for _ in range(20):
            assert read(client, "one") == read(client, "two") == 0
            codes.add(compare(client)[0][0])
        assert NO_DATA in codes
        assert codes <= {0, NO_DATA}
        time.sleep(0.11)
        read(client, "one")
        assert compare(client)[0][0] == NO_DATA, "the wrong way round"


def test_each_gpu_instance_has_its_own_activity(tmp_path: Path) -> None:
    host = Scenario.host(1).with_mig_layout(0, cut_into(H100, "3g.40gb", "2g.20gb", "1g.10gb"))
    for gpu_instance, percent in ((1, 20), (3, 100)):
        host = host.with_mig_utilization(0, percent, gpu_instance)
    mig = "nvmlDeviceGetMigDeviceHandleByIndex(gpu(0), {})"
    with on_host(tmp_path, host) as client:
        assert client.ask(f"nvmlGpmQueryDeviceSupport({mig.format(0)}).isSupportedDevice") == 1
        client.ask(PREPARE)
        means = []
        for places in (("gpu(0)", 1), ("gpu(0)", 3), ("gpu(0)", 7), (mig.format(0), None), (mig.format(1), None)):
            assert read(client, "one", *places) == 0
            time.sleep(0.11)
            assert read(client, "two", *places) == 0
            means.append(compare(client)[0])
        assert means == [(0, 20.0), (0, 100.0), (0, 0.0), (0, 20.0), (0, 100.0)]
        assert read(client, "one", "gpu(0)", 5) == NOT_FOUND
        assert read(client, "one", mig.format(0), 1) == NOT_SUPPORTED
        client.becomes(host.with_device(replace(host.devices[0], mig="disabled", instances=())))
        assert read(client, "one", "gpu(0)", 1) == NOT_SUPPORTED


def test_a_gpu_instance_is_as_busy_as_its_compute_instances_by_their_slices(tmp_path: Path) -> None:
    parts = [SimInstance(1, 0, compute_slices=1, gpu_slices=3, utilization_percent=90),
             SimInstance(1, 1, compute_slices=2, gpu_slices=3, utilization_percent=30)]  # fmt: skip
    with on_host(tmp_path, Scenario.host(1).with_mig_layout(0, parts)) as client:
        client.ask(PREPARE)
        read(client, "one", "gpu(0)", 1)
        time.sleep(0.11)
        read(client, "two", "gpu(0)", 1)
        assert compare(client)[0] == (0, 50.0)


def test_nobody_notices_that_an_instance_is_another_one(tmp_path: Path) -> None:
    """Samples across a change mean nothing, and say so in no way: who compares them must know."""
    host = Scenario.host(1).with_mig_layout(0, cut_into(H100, "1g.10gb")).with_mig_utilization(0, 100, 7)
    with on_host(tmp_path, host) as client:
        client.ask(PREPARE)
        read(client, "one", "gpu(0)", 7)
        time.sleep(0.11)
        client.becomes(host.with_mig_layout(0, cut_into(H100, "1g.10gb")))
        read(client, "two", "gpu(0)", 7)
        code, mean = compare(client)[0]
        assert code == 0
        assert mean < 0 or mean > 100


def test_buffers_are_counted(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        client.ask(PREPARE)
        client.ask("kept.update(many=[nvmlGpmSampleAlloc() for _ in range(1022)])")
        assert client.code("nvmlGpmSampleAlloc()") == MEMORY, "a program that frees none is found out"
        client.ask("[nvmlGpmSampleFree(one) for one in kept['many']]")
        assert client.code("nvmlGpmSampleAlloc()") == 0
        assert client.code("nvmlGpmSampleFree(c_nvmlGpmSample_t())") == INVALID_ARGUMENT
        client.ask("nvmlGpmSampleFree(kept['two'])")
        assert client.code("nvmlGpmSampleFree(kept['two'])") == INVALID_ARGUMENT, "freed already"
        assert read(client, "two") == INVALID_ARGUMENT


@pytest.mark.parametrize("change", ["('version', 9)", "('sample2', None)", "('numMetrics', 4000)"])
def test_a_comparison_that_is_asked_for_wrongly_is_refused(tmp_path: Path, change: str) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        client.ask(PREPARE)
        assert client.code("nvmlGpmMetricsGet(kept['get'])") != 0
        read(client, "one")
        time.sleep(0.11)
        read(client, "two")
        compare(client)
        client.ask(f"setattr(kept['get'], *{change})")
        expected = VERSION_MISMATCH if "version" in change else INVALID_ARGUMENT
        assert client.code("nvmlGpmMetricsGet(kept['get'])") == expected
