"""Accounting: what processes have used in all, once somebody has switched it on."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gputally.simulator.scenario import Scenario, SimDevice, SimProcess, Step, boottime_ns, cut_into

from .client import Client, on_host, running, wall_minus_boot_ns

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, INSUFFICIENT_SIZE = 3, 4, 6, 7
MS_NS, S_NS = 1_000_000, 10**9
MODE, PIDS = "nvmlDeviceGetAccountingMode(gpu(0))", "nvmlDeviceGetAccountingPids(gpu(0))"
ON, OFF = "nvmlDeviceSetAccountingMode(gpu(0), NVML_FEATURE_ENABLED)", "nvmlDeviceSetAccountingMode(gpu(0), 0)"
STATS = "nvmlDeviceGetAccountingStats(gpu(0), {})"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a driver lets nobody else set the mode")


def accounted(*processes: SimProcess, **also: object) -> Scenario:
    device = SimDevice("GPU-a", accounting="enabled", processes=processes)
    return Scenario((replace(device, **also),))  # type: ignore[arg-type]


def test_an_ended_process_has_its_final_values(tmp_path: Path) -> None:
    start_ns = boottime_ns() - 300 * MS_NS
    middle_ns, end_ns = start_ns + 50 * MS_NS, start_ns + 200 * MS_NS
    sm = (Step(0, 80), Step(middle_ns, 20), Step(end_ns, 100))
    memory = (Step(0, 5), Step(middle_ns, 900), Step(end_ns - 1, 3), Step(end_ns, 10**6))
    ended = SimProcess(7, start_ns, end_ns, memory, sm)
    with on_host(tmp_path, accounted(ended)) as client:
        stats = client.ask(STATS.format(7))
        assert (stats["isRunning"], stats["time"]) == (0, 200)
        assert stats["gpuUtilization"] == (50 * 80 + 150 * 20) // 200
        assert stats["maxMemoryUsage"] == 900
        assert abs(stats["startTime"] - (start_ns + wall_minus_boot_ns()) // 1000) < 1000
        time.sleep(0.05)
        assert client.ask(STATS.format(7)) == stats
        second = client.ask("nvmlDeviceGetAccountingStats_v2(gpu(0), 7)")
        assert {key: second[key] for key in second if key in stats} == {
            key: stats[key] for key in stats if key in second
        }
        assert second["sampleCount"] == 1, "two tenths of a second, each sixth of one"


def test_a_running_process_has_no_time_yet(tmp_path: Path) -> None:
    start_ns = boottime_ns() - 100 * MS_NS
    with on_host(tmp_path, accounted(SimProcess(7, start_ns, memory_bytes=9, sm_percent=30))) as client:
        stats = client.ask(STATS.format(7))
        assert (stats["isRunning"], stats["time"], stats["gpuUtilization"], stats["maxMemoryUsage"]) == (1, 0, 30, 9)
        assert client.ask(PIDS) == [7]
        assert client.code(STATS.format(8)) == NOT_FOUND


def test_memory_that_is_not_available_is_told_as_that(tmp_path: Path) -> None:
    """In the second version: for the first one the binding raises a TypeError of its own."""
    with on_host(tmp_path, accounted(SimProcess(7, memory_bytes=None))) as client:
        assert client.ask("nvmlDeviceGetAccountingStats_v2(gpu(0), 7).maxMemoryUsage") == 2**64 - 1
        call = "raw('nvmlDeviceGetAccountingStats', gpu(0), 7, byref(kept['stats']))"
        assert client.ask(f"[kept.update(stats=c_nvmlAccountingStats_t()), {call}, kept['stats'].maxMemoryUsage]") == [
            None, 0, 2**64 - 1]  # fmt: skip


def test_every_program_is_told_the_same_start_to_the_microsecond(tmp_path: Path) -> None:
    """So that a record can be known again."""
    with on_host(tmp_path, accounted(SimProcess(7, boottime_ns() - S_NS))) as client:
        starts = {client.ask(STATS.format(7))["startTime"] for _ in range(20)}
        for _ in range(3):
            other = Client(client.scenario)
            try:
                other.ask("nvmlInit()")
                starts.add(other.ask(STATS.format(7))["startTime"])
            finally:
                other.close()
        assert len(starts) == 1


def test_a_process_that_follows_its_pid_is_ended_with_it(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start_ns = boottime_ns()
    with on_host(tmp_path, accounted(SimProcess(child.pid, start_ns, follow=True, sm_percent=50))) as client:
        time.sleep(0.05)
        assert client.ask(STATS.format(child.pid))["isRunning"] == 1
        child.kill()
        child.wait()
        killed_ms = (boottime_ns() - start_ns) // MS_NS
        time.sleep(0.02)
        stats = client.ask(STATS.format(child.pid))
        assert stats["isRunning"] == 0
        assert 50 <= stats["time"] <= killed_ms


def test_of_two_processes_with_one_pid_the_last_to_end_is_reported(tmp_path: Path) -> None:
    """Both in the list, and an ended one before one that runs: as in the open part of the driver."""
    now_ns = boottime_ns()
    first = SimProcess(7, now_ns - 900 * MS_NS, now_ns - 800 * MS_NS)
    second = SimProcess(7, now_ns - 700 * MS_NS, now_ns - 400 * MS_NS)
    third = SimProcess(7, now_ns - 300 * MS_NS)
    with on_host(tmp_path, accounted(second, first)) as client:
        assert client.ask(STATS.format(7))["time"] == 300
        assert client.ask(PIDS) == [7]
        client.becomes(accounted(third, second, first))
        assert client.ask(STATS.format(7))["time"] == 300
        assert client.ask(PIDS) == [7, 7]


def test_a_device_remembers_its_last_128_ended_processes(tmp_path: Path) -> None:
    """Not the 4,000 of its buffer: the rest is for those that run."""
    now_ns = boottime_ns()
    jobs = [SimProcess(1000 + i, now_ns - (300 - i) * MS_NS, now_ns - (299 - i) * MS_NS) for i in range(200)]
    with on_host(tmp_path, accounted(*reversed(jobs), SimProcess(5))) as client:
        assert client.ask("nvmlDeviceGetAccountingBufferSize(gpu(0))") == 4000
        assert client.ask(PIDS) == [*range(1072, 1200), 5]
        assert client.code(STATS.format(1071)) == NOT_FOUND
        assert client.code(STATS.format(1072)) == 0
        client.ask("kept.update(count=c_uint(2), pids=(c_uint * 200)())")
        call = "raw('nvmlDeviceGetAccountingPids', gpu(0), byref(kept['count']), kept['pids'])"
        assert (client.ask(call), client.ask("kept['count'].value")) == (INSUFFICIENT_SIZE, 129)
        assert client.ask(call) == 0


def test_some_drivers_add_up_once_a_second_for_those_who_are_still_there(tmp_path: Path) -> None:
    """So that a job of less than a second seems to have done nothing."""
    now_ns = boottime_ns()
    second_ns = now_ns // S_NS * S_NS - S_NS
    short = SimProcess(7, second_ns + 100 * MS_NS, second_ns + 300 * MS_NS, sm_percent=90)
    long = SimProcess(
        8, second_ns - 500 * MS_NS, second_ns + 300 * MS_NS, sm_percent=(Step(0, 40), Step(second_ns, 100))
    )
    with on_host(tmp_path, accounted(short, long, quirks=("slow_accounting",))) as client:
        assert [client.ask(STATS.format(pid))["gpuUtilization"] for pid in (7, 8)] == [0, 40]
        assert [client.ask(STATS.format(pid))["time"] for pid in (7, 8)] == [200, 800]


# ---- the mode


def test_it_is_off_unless_somebody_has_switched_it_on(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario((SimDevice("GPU-a"), SimDevice("GPU-b", accounting="unsupported")))) as client:
        assert client.ask(MODE) == 0
        calls = [PIDS, STATS.format(7), "nvmlDeviceGetAccountingBufferSize(gpu(0))",
                 "nvmlDeviceGetAccountingStats_v2(gpu(0), 7)"]  # fmt: skip
        assert {client.code(call) for call in calls} == {NOT_SUPPORTED}
        assert client.code("nvmlDeviceGetAccountingMode(gpu(1))") == NOT_SUPPORTED
        assert client.code("nvmlDeviceSetAccountingMode(gpu(1), 1)") == NOT_SUPPORTED


@needs_root
def test_what_one_program_sets_holds_for_all_until_the_driver_is_reloaded(tmp_path: Path) -> None:
    host = Scenario((SimDevice("GPU-a"), SimDevice("GPU-b")))
    with on_host(tmp_path, host) as one, running(one.scenario) as two:
        two.ask("nvmlInit()")
        one.ask(ON)
        assert [two.ask(MODE), two.ask("nvmlDeviceGetAccountingMode(gpu(1))")] == [1, 0]
        one.becomes(host.with_utilization(0, 5))
        assert two.ask(MODE) == 1
        one.becomes(host.with_driver_reload(boottime_ns()))
        for client in (one, two):
            client.ask("[nvmlShutdown(), nvmlInit()]")
            assert client.ask(MODE) == 0
        two.ask(ON)
        assert one.ask(MODE) == 1
        one.ask(OFF)
        assert two.ask(MODE) == 0


@needs_root
def test_only_processes_that_start_afterwards_are_recorded(tmp_path: Path) -> None:
    host = Scenario((SimDevice("GPU-a", processes=(SimProcess(7, boottime_ns() - S_NS),)),))
    with on_host(tmp_path, host) as client:
        client.ask(ON)
        assert client.ask(PIDS) == []
        client.becomes(host.with_process(0, SimProcess(8, boottime_ns())))
        assert client.ask(PIDS) == [8]
        client.ask(ON)
        assert client.ask(PIDS) == [8], "on already"
        client.ask(OFF)
        client.ask(ON)
        assert client.ask(PIDS) == [], "switched off, all is forgotten"


@needs_root
def test_the_ended_can_be_forgotten(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    with on_host(tmp_path, accounted(SimProcess(7, now_ns - S_NS, now_ns - 1), SimProcess(8))) as client:
        assert client.ask(PIDS) == [7, 8]
        client.ask("nvmlDeviceClearAccountingPids(gpu(0))")
        assert client.ask(PIDS) == [8]
        assert client.ask(MODE) == 1


def test_a_reload_loses_the_records_and_the_mode(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    host = accounted(SimProcess(7, now_ns - S_NS, now_ns - 1))
    with on_host(tmp_path, host) as client:
        assert client.ask(PIDS) == [7]
        client.becomes(host.with_driver_reload(now_ns))
        client.ask("[nvmlShutdown(), nvmlInit()]")
        assert client.ask(MODE) == 0
        client.becomes(host.with_driver_reload(now_ns).with_accounting(0))
        assert (client.ask(MODE), client.ask(PIDS)) == (1, [])


def test_nobody_but_root_may_set_anything(tmp_path: Path) -> None:
    with on_host(tmp_path, accounted(SimProcess(7))) as client:
        if os.geteuid() == 0:
            client.ask("__import__('os').seteuid(65534)")
        assert client.code(OFF) == client.code("nvmlDeviceClearAccountingPids(gpu(0))") == NO_PERMISSION
        assert (client.ask(MODE), client.ask(PIDS)) == (1, [7])


def test_with_mig_it_is_off_and_stays_off(tmp_path: Path) -> None:
    host = accounted(SimProcess(7)).with_mig_layout(0, cut_into("NVIDIA A100-SXM4-80GB", "1g.10gb"))
    with on_host(tmp_path, host) as client:
        assert client.ask(MODE) == 0
        assert client.code(ON) == client.code(PIDS) == client.code(STATS.format(7)) == NOT_SUPPORTED


def test_settings_from_before_the_last_boot_count_for_nothing(tmp_path: Path) -> None:
    with on_host(tmp_path, accounted(SimProcess(7))) as client:
        assert client.ask(MODE) == 1
        settings = client.scenario.with_name("scenario.settings")
        now = wall_minus_boot_ns()
        settings.write_text(f"clock {now - 3600 * S_NS}\nGPU-a 0 1 0 0\n")
        assert client.ask(MODE) == 1
        settings.write_text(f"clock {now}\nGPU-a 0 1 0 0\n")
        assert client.ask(MODE) == 0
        for broken in ("", "clock", f"clock {now}\nGPU-a\n\0\n", "\xff" * 100_000):
            settings.write_text(broken)
            assert client.ask(MODE) == 1
