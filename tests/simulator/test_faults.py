"""What goes wrong: errors, delays, hangs, on one device or on all, for a time or for ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gputally.simulator.scenario import Fault, Scenario, SimProcess, boottime_ns, driver_environment

from .client import on_host, running

TIMEOUT, UNKNOWN, NOT_SUPPORTED, IS_LOST, NO_PERMISSION = 10, 999, 3, 15, 4
NAME, POWER, MEMORY = (
    "nvmlDeviceGetName(gpu({}))",
    "nvmlDeviceGetPowerUsage(gpu({}))",
    "nvmlDeviceGetMemoryInfo(gpu({}))",
)
MS_NS = 1_000_000


@pytest.mark.parametrize("error,code", [
    ("TIMEOUT", TIMEOUT), ("NVML_ERROR_UNKNOWN", UNKNOWN), (4, NO_PERMISSION), ("GPU_IS_LOST", IS_LOST), (77, 77),
])  # fmt: skip
def test_any_error_can_come_from_any_function(tmp_path: Path, error: str | int, code: int) -> None:
    host = Scenario.host(2)
    with on_host(tmp_path, host.with_fault(Fault("nvmlDeviceGetName", error=error))) as client:
        assert client.ask("raw('nvmlDeviceGetName', gpu(0), create_string_buffer(96), 96)") == code
        assert client.code(POWER.format(0)) == 0
        client.becomes(host)
        assert client.code(NAME.format(0)) == 0


def test_an_error_can_be_of_one_device(tmp_path: Path) -> None:
    host = Scenario.host(3)
    both = host.with_fault(Fault("nvmlDeviceGetName", error="UNKNOWN", device=1))
    both = both.with_fault(Fault("nvmlDeviceGetName", error="TIMEOUT", device=host.devices[2].uuid))
    with on_host(tmp_path, both) as client:
        assert [client.code(NAME.format(i)) for i in range(3)] == [0, UNKNOWN, TIMEOUT]


def test_a_handle_can_be_refused_for_one_device(tmp_path: Path) -> None:
    host = Scenario.host(2)
    with on_host(tmp_path, host.with_fault(Fault("nvmlDeviceGetHandle*", error="UNKNOWN", device=1))) as client:
        assert [client.code(f"gpu({i})") for i in range(2)] == [0, UNKNOWN]
        assert client.code(f"nvmlDeviceGetHandleByUUID({host.devices[1].uuid!r})") == UNKNOWN


@pytest.mark.parametrize("call,codes", [
    ("nvmlDeviceGetMemoryInfo", (TIMEOUT, TIMEOUT, 0)),  # a bare name: all its versions
    ("nvmlDeviceGetMemoryInfo_v2", (0, TIMEOUT, 0)),
    ("nvmlDeviceGetMemory*", (TIMEOUT, TIMEOUT, 0)),
    ("nvmlDeviceGet*", (TIMEOUT, TIMEOUT, TIMEOUT)),
    ("*", (TIMEOUT, TIMEOUT, TIMEOUT)),
    ("nvmlDeviceGetMemory", (0, 0, 0)),
])  # fmt: skip
def test_a_fault_names_a_function_its_versions_or_a_family(
    tmp_path: Path, call: str, codes: tuple[int, int, int]
) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        client.ask("kept.update(held=gpu(0))")
        client.becomes(Scenario.host(1).with_fault(Fault(call, error="TIMEOUT")))
        second = "nvmlDeviceGetMemoryInfo(kept['held'], version=nvmlMemory_v2)"
        calls = ("nvmlDeviceGetMemoryInfo(kept['held'])", second, "nvmlDeviceGetPowerUsage(kept['held'])")
        assert tuple(map(client.code, calls)) == codes


def test_a_fault_lasts_from_its_start_until_its_end(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    fault = Fault("nvmlDeviceGetName", error="TIMEOUT", from_ns=now_ns + 600 * MS_NS, until_ns=now_ns + 700 * MS_NS)
    seen = set()
    with on_host(tmp_path, Scenario.host(1).with_fault(fault)) as client:
        while (before_ns := boottime_ns()) < now_ns + 800 * MS_NS:
            code, after_ns = client.code(NAME.format(0)), boottime_ns()
            if fault.from_ns <= before_ns and after_ns < now_ns + 700 * MS_NS:
                assert code == TIMEOUT
            elif after_ns < fault.from_ns or before_ns >= now_ns + 700 * MS_NS:
                assert code == 0
            seen.add(code)
    assert seen == {0, TIMEOUT}


def test_a_delay_is_waited_out_and_then_answered(tmp_path: Path) -> None:
    slow = Fault("nvmlDeviceGetName", delay_ns=80 * MS_NS, device=0)
    with on_host(tmp_path, Scenario.host(2).with_fault(slow)) as client:
        took_s = []
        for device in range(2):
            begin_s = time.monotonic()
            assert client.code(NAME.format(device)) == 0
            took_s.append(time.monotonic() - begin_s)
        assert took_s[0] >= 0.08 > took_s[1]


def test_a_delay_and_an_error_come_together(tmp_path: Path) -> None:
    fault = Fault("nvmlDeviceGetName", delay_ns=50 * MS_NS, error="TIMEOUT")
    with on_host(tmp_path, Scenario.host(1).with_fault(fault)) as client:
        begin_s = time.monotonic()
        assert client.code(NAME.format(0)) == TIMEOUT
        assert time.monotonic() - begin_s >= 0.05


def test_a_hang_lasts_until_the_scenario_says_otherwise(tmp_path: Path) -> None:
    host = Scenario.host(1)
    with on_host(tmp_path, host.with_fault(Fault("nvmlDeviceGetName", hang=True))) as client:
        client.begin(NAME.format(0))
        time.sleep(0.15)
        begin_s = time.monotonic()
        host.write(client.scenario)
        assert client.finish() == host.devices[0].name
        assert time.monotonic() - begin_s < 0.5


def test_a_hang_that_ends_in_an_error_gives_the_error(tmp_path: Path) -> None:
    host = Scenario.host(1)
    with on_host(tmp_path, host.with_fault(Fault("nvmlDeviceGetName", hang=True))) as client:
        client.begin("raw('nvmlDeviceGetName', gpu(0), create_string_buffer(96), 96)")
        time.sleep(0.05)
        host.with_lost(0).write(client.scenario)
        assert client.finish() == IS_LOST


def test_one_call_that_hangs_leaves_other_threads_alone(tmp_path: Path) -> None:
    host = Scenario.host(2)
    with on_host(tmp_path, host) as client:
        client.ask("kept.update(gpus=[gpu(0), gpu(1)])")
        client.becomes(host.with_fault(Fault("*", device=0, hang=True)))
        start = "__import__('threading').Thread(target=nvmlDeviceGetName, args=(kept['gpus'][0],), daemon=True).start()"
        client.ask(start)
        time.sleep(0.05)
        begin_s = time.monotonic()
        assert client.ask("nvmlDeviceGetName(kept['gpus'][1])") == host.devices[1].name
        assert client.ask("nvmlDeviceGetCount()") == 2
        assert time.monotonic() - begin_s < 0.5


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_program_in_a_hang(tmp_path: Path, signum: int) -> None:
    with on_host(tmp_path, Scenario.host(1).with_fault(Fault("nvmlDeviceGetName", hang=True))) as client:
        client.begin(NAME.format(0))
        time.sleep(0.1)
        assert client.process.poll() is None
        assert client.kill(signum) == -signum


def test_init_and_shutdown_can_fail_and_hang_too(tmp_path: Path) -> None:
    """There are three ways to initialise; pynvml's nvmlInit() takes nvmlInitWithFlags."""
    host = Scenario.host(1)
    path = tmp_path / "scenario"
    host.with_fault(Fault("nvmlInit*", error="UNKNOWN")).write(path)
    with running(path) as client:
        assert client.code("nvmlInit()") == UNKNOWN
        client.becomes(host.with_fault(Fault("nvmlInit*", hang=True)))
        client.begin("nvmlInit()")
        time.sleep(0.1)
        client.becomes(host.with_fault(Fault("nvmlShutdown", error="TIMEOUT")))
        client.finish()
        assert client.code("nvmlShutdown()") == TIMEOUT
        client.becomes(host)
        assert client.ask("nvmlDeviceGetCount()") == 1, "a shutdown that failed has not shut down"
        client.ask("nvmlShutdown()")


def test_a_host_of_many_threads_and_many_scenarios_answers_every_call(tmp_path: Path) -> None:
    program = """
import sys, threading, time
from pynvml import *
nvmlInit()
until, wrong = time.monotonic() + 1.0, []
def work():
    while time.monotonic() < until:
        for i in range(4):
            gpu = nvmlDeviceGetHandleByIndex(i)
            if nvmlDeviceGetPowerUsage(gpu) % 1000 or len(nvmlDeviceGetComputeRunningProcesses(gpu)) > 1:
                wrong.append(i)
            nvmlDeviceGetTotalEnergyConsumption(gpu)
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
sys.exit(len(wrong))
"""
    host, path = Scenario.host(4), tmp_path / "scenario"
    host.write(path)
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ | driver_environment(path))
    for i in range(10_000):
        if process.poll() is not None:
            break
        host.with_power(i % 4, 1000 * i).with_process(i % 4, SimProcess(i + 1)).write(path)
        time.sleep(0.005)
    assert process.wait(10) == 0
