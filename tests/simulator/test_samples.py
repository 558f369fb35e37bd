"""What the driver sampled lately: utilization of processes and histories of devices, with wall-clock stamps."""

import itertools
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gputally.simulator.scenario import Quirk, Scenario, SimDevice, SimProcess, Step, boottime_ns

from .client import Client, Refused, on_host, wall_minus_boot_ns

NOT_FOUND, NOT_SUPPORTED = 6, 3
PERIOD_US = 50_000


def busy(*processes: SimProcess, quirks: tuple[Quirk, ...] = ()) -> Scenario:
    device = SimDevice("GPU-a", processes=processes, quirks=quirks)
    return Scenario((device,), sample_period_ns=PERIOD_US * 1000)


def samples(client: Client, seen_us: int, call: str = "nvmlDeviceGetProcessUtilization") -> list[dict[str, int]]:
    """Empty when nothing is new."""
    try:
        rows: list[dict[str, int]] = client.ask(f"{call}(gpu(0), {seen_us})")
    except Refused as refused:
        assert refused.code == NOT_FOUND
        return []
    return rows


@pytest.mark.parametrize("call", ["nvmlDeviceGetProcessUtilization", "nvmlDeviceGetProcessesUtilizationInfo"])
def test_each_busy_process_has_a_sample_not_older_than_a_period(tmp_path: Path, call: str) -> None:
    with on_host(tmp_path, busy(SimProcess(7, sm_percent=40), SimProcess(8, sm_percent=55), SimProcess(9))) as client:
        before_us = time.time_ns() // 1000
        found = {row["pid"]: row for row in samples(client, 1, call)}
        after_us = time.time_ns() // 1000
        assert {pid: row["smUtil"] for pid, row in found.items()} == {7: 40, 8: 55}, "idle ones leave no sample"
        assert all(before_us - PERIOD_US <= row["timeStamp"] <= after_us for row in found.values())
        assert len({row["timeStamp"] for row in found.values()}) == 2, "they do not come all at once"


def test_a_sample_is_given_once_to_one_who_says_what_it_has_seen(tmp_path: Path) -> None:
    with on_host(tmp_path, busy(SimProcess(7, sm_percent=40))) as client:
        seen_us, stamps = 1, []
        until_s = time.monotonic() + 8 * PERIOD_US / 1e6
        while time.monotonic() < until_s:
            for row in samples(client, seen_us):
                stamps.append(row["timeStamp"])
                seen_us = row["timeStamp"]
        assert len(stamps) >= 4
        gaps = {later - earlier for earlier, later in itertools.pairwise(stamps)}
        assert all(gap % PERIOD_US == 0 and gap > 0 for gap in gaps)


def test_the_last_sample_of_an_ended_process_can_still_be_read(tmp_path: Path) -> None:
    now_ns, now_us = boottime_ns(), time.time_ns() // 1000
    host = busy(
        SimProcess(7, end_ns=now_ns - 100_000_000, sm_percent=40),
        SimProcess(8, end_ns=now_ns // 2, sm_percent=40),
        SimProcess(9, start_ns=now_ns + 3600 * 10**9, sm_percent=40),
    )
    with on_host(tmp_path, host) as client:
        (row,) = samples(client, 1)
        assert row["pid"] == 7, "long ended ones are forgotten, those to come are not known"
        assert now_us - 100_000 - PERIOD_US - 1000 <= row["timeStamp"] <= now_us - 100_000 + 1000
        assert samples(client, row["timeStamp"]) == []


def test_a_sample_has_the_utilization_of_its_own_moment(tmp_path: Path) -> None:
    change_ns, offset_ns = boottime_ns() + 100_000_000, wall_minus_boot_ns()
    steps = (Step(0, 20), Step(change_ns, 80))
    with on_host(tmp_path, busy(SimProcess(7, sm_percent=steps))) as client:
        seen = set()
        while boottime_ns() < change_ns + 150_000_000:
            for row in samples(client, 1):
                at_ns = row["timeStamp"] * 1000 - offset_ns
                if abs(at_ns - change_ns) > 1_000_000:
                    assert row["smUtil"] == (80 if at_ns > change_ns else 20)
                    seen.add(row["smUtil"])
        assert seen == {20, 80}


def test_some_drivers_pad_with_zeros_and_some_with_junk(tmp_path: Path) -> None:
    process = SimProcess(7, sm_percent=40)
    with on_host(tmp_path, busy(process, quirks=("zeros", "junk"))) as client:
        rows = samples(client, 1)
        assert [row for row in rows if row["pid"] == 0 and row["timeStamp"] == 0 and row["smUtil"] == 0]
        assert [row for row in rows if row["pid"] not in (0, 7)]
        assert [row for row in rows if row["smUtil"] > 100]
        assert [row for row in rows if row["timeStamp"] > time.time_ns() // 1000 + 60_000_000]
        assert [row for row in rows if row["pid"] == 7 and row["smUtil"] == 40]


def test_some_drivers_call_nothing_new_a_success(tmp_path: Path) -> None:
    """Which pynvml raises as NVMLError(SUCCESS)."""
    with on_host(tmp_path, busy(quirks=("empty_success",))) as client:
        with pytest.raises(Refused) as refused:
            client.ask("nvmlDeviceGetProcessUtilization(gpu(0), 1)")
        assert refused.value.code == 0
        client.becomes(busy())
        assert client.code("nvmlDeviceGetProcessUtilization(gpu(0), 1)") == NOT_FOUND


def test_a_device_remembers_its_last_samples(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    steps = (Step(0, 10), Step(now_ns - 20 * PERIOD_US * 1000, 90))
    host = replace(busy(), devices=(SimDevice("GPU-a", utilization_percent=steps, power_mw=300_000),))
    with on_host(tmp_path, host) as client:
        call = "nvmlDeviceGetSamples(gpu(0), NVML_GPU_UTILIZATION_SAMPLES, {})"
        _, rows = client.ask(call.format(0))
        stamps = [row["timeStamp"] for row in rows]
        assert stamps == sorted(stamps)
        assert {later - earlier for earlier, later in itertools.pairwise(stamps)} == {PERIOD_US}
        values = client.ask(f"[s.sampleValue.uiVal for s in {call.format(0)}[1]]")
        assert values == sorted(values) and {10, 90} == set(values)
        assert len(client.ask(call.format(stamps[-3]))[1]) <= 4, "only what is newer"
        assert client.code(call.format(2**63)) == NOT_FOUND
        power = "nvmlDeviceGetSamples(gpu(0), NVML_TOTAL_POWER_SAMPLES, 0)[1][0].sampleValue.uiVal"
        assert client.ask(power) == 300_000
        assert client.code("nvmlDeviceGetSamples(gpu(0), NVML_DEC_UTILIZATION_SAMPLES, 0)") == NOT_SUPPORTED
