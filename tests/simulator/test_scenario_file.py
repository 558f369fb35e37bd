"""The scenario as a file: written by hand or by us, replaced while programs run, taken whole or not at all."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gputally.simulator.scenario import (
    Fault,
    Scenario,
    SimDevice,
    SimProcess,
    Step,
    boottime_ns,
    cut_into,
    driver_environment,
)

from .client import on_host, running

NOT_LOADED = 9
NAME = "nvmlDeviceGetName(gpu(0))"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "simulator.md"
LINES = "driver\ndevice uuid=GPU-a name=Good\n"


def test_a_person_can_write_one(tmp_path: Path) -> None:
    path = tmp_path / "scenario"
    path.write_text("""
        # a host with two boards
        driver version=535.54.03 cuda=12020
        samples period=250ms
        device uuid=GPU-a name="Tesla T4" memory=16000000000 power_mw=0:9000,1s:70000   # from the first second on
        device uuid=GPU-b\tname=Other utilization=75
        process device=1 pid=4242 memory=0:1,1500us:1000000 sm=30
        process device=GPU-a pid=1 start=1us end=2000000h memory=unavailable
        fault call=nvmlDeviceGetPowerUsage device=GPU-b error=TIMEOUT
    """)
    with running(path) as client:
        client.ask("nvmlInit()")
        assert client.ask(NAME) == "Tesla T4"
        assert client.ask("nvmlSystemGetDriverVersion()") == "535.54.03"
        assert client.ask("nvmlDeviceGetPowerUsage(gpu(0))") == 70_000
        assert client.code("nvmlDeviceGetPowerUsage(gpu(1))") == 10
        rows = [client.ask(f"nvmlDeviceGetComputeRunningProcesses(gpu({i}))") for i in range(2)]
        assert [(row["pid"], row["usedGpuMemory"]) for (row,) in rows] == [(1, None), (4242, 1_000_000)]
        assert client.close() == ""


WRONG = {
    "device name=x\n": "3: this line wants a uuid",
    "device uuid=GPU-b memory=-1\n": "3: memory wants a whole number",
    "device uuid=GPU-b memory=1e9\n": "3: memory wants a whole number",
    "device uuid=GPU-b memory=99999999999999999999\n": "3: memory wants a whole number",
    "device uuid=GPU-b memory\n": "3: memory wants a whole number",
    "device uuid=GPU-b colour=red\n": "3: colour is not a key of this line",
    "device uuid=GPU-b lost=yes\n": "3: lost stands alone",
    "device uuid=GPU-b mig=maybe\n": "3: mig is unsupported, disabled or enabled",
    "device uuid=GPU-b quirks=zeros,fancy\n": "3: quirks is a list of",
    "device uuid=GPU-b power_mw=5:1,5:2\n": "3: power_mw wants one number, or time:number steps with rising",
    "device uuid=GPU-b power_mw=5:1,\n": "3: power_mw wants",
    "device uuid=GPU-b power_mw=5:\n": "3: power_mw wants",
    "device uuid=GPU-b utilization=\n": "3: utilization wants",
    "device uuid=GPU-b energy_origin=5d\n": "3: energy_origin wants a time",
    "device uuid=GPU-b energy_origin=9999999999h\n": "3: energy_origin wants a time",
    f"device uuid={'x' * 96}\n": "3: uuid wants a text of at most 95",
    'device uuid=GPU-b name="A board\n': "3: an unclosed quotation mark is not a key",
    "process device=1 pid=3\n": "3: this line wants the device of an earlier line",
    "process pid=3\n": "3: this line wants the device of an earlier line",
    "process device=0\n": "3: this line wants a pid",
    "process device=0 pid=3 kind=vulkan\n": "3: kind is compute, graphics or mps",
    "instance device=0 gpu_instance=1\n": "3: this line wants a device with mig=enabled",
    "device uuid=GPU-b mig=enabled\ninstance device=1\n": "4: this line wants a gpu_instance",
    "device uuid=GPU-b mig_memory_slices=0\n": "3: this line wants 1 to 16 slices",
    "device uuid=GPU-b mig=enabled mig_compute_slices=17\n": "3: this line wants 1 to 16 slices",
    "device uuid=GPU-b mig=enabled\ninstance device=1 gpu_instance=1 gpu_slices=0\n": "4: this line wants 1 to 16",
    "instance device=5 gpu_instance=1\n": "3: this line wants the device of an earlier line",
    "device uuid=GPU-b mig=enabled\ninstance device=1 gpu_instance=1 index=7\n": "4: this line is more than the",
    "device uuid=GPU-b mig=enabled\n"
    + "instance device=1 gpu_instance=1\n" * 2: "5: this line wants ids that no other",
    "fault device=0 error=TIMEOUT\n": "3: this line wants a call",
    "fault call=* error=OOPS\n": "3: error is the name of an NVML error",
    "fault call=* device=GPU-none hang\n": "3: this line wants the device",
    "xid device=GPU-none code=79\n": "3: this line wants the device",
    "samples period=10ns\n": "3: this line wants a period of at least 1us",
    "\n\ndeivce uuid=GPU-b\n": "5: deivce begins no line I know",
    "".join(f"device uuid=GPU-{i}\n" for i in range(64)): "66: device is one device too many",
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a running program wrote about each wrong file, and whether the good one stayed in force."""
    path = tmp_path_factory.mktemp("wrong") / "scenario"
    path.write_text(LINES)
    with running(path) as client:
        client.ask("nvmlInit()")
        for i, wrong in enumerate(WRONG):
            path.write_text(LINES.replace("Good", f"Bad{i}") + wrong)
            time.sleep(0.01)
            assert client.ask(NAME) == "Good"
        lines = client.close().splitlines()
    assert len(lines) == len(WRONG), "one complaint for each"
    return dict(zip(WRONG, lines, strict=True))


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_a_wrong_line_keeps_the_scenario_before_and_is_named(complaints: dict[str, str], wrong: str) -> None:
    assert re.search(rf"scenario:{re.escape(WRONG[wrong])}", complaints[wrong])
    assert "stays in force" in complaints[wrong]


@pytest.mark.parametrize(
    "content", ["", "device uuid=GPU-a\n", "driver\nnonsense\n", "\0\0\0", "driver\n\0", "driver=5\n", "=\n"]
)
def test_a_program_does_not_start_on_a_broken_scenario(tmp_path: Path, content: str) -> None:
    (path := tmp_path / "scenario").write_text(content)
    with running(path) as client:
        assert client.code("nvmlInit()") == NOT_LOADED
        path.write_text(LINES)
        client.ask("nvmlInit()")
        assert client.ask(NAME) == "Good"
        assert "no driver until it is right" in client.close()


def test_random_bytes_never_hurt_a_program(tmp_path: Path) -> None:
    """A scenario is cut and scratched in hundreds of ways; the program answers every time."""
    host = Scenario.host(2).with_process(0, SimProcess(1, sm_percent=(Step(0, 1), Step(5, 9)), memory_bytes=None))
    path = tmp_path / "scenario"
    host = host.with_mig_layout(1, cut_into("NVIDIA H100 80GB HBM3", "3g.40gb", "1g.10gb")).with_xid(0, 79, 5)
    host = host.with_energy_step(0, 7, 9).with_accounting(0)
    host.with_fault(Fault("nvmlUnitGetCount", error="TIMEOUT", device=1)).write(path)
    whole = path.read_bytes()
    program = f"""
import ctypes, os, random
from pynvml import *
nvmlInit()
random.seed(5)
whole, path = {whole!r}, {str(path)!r}
for i in range(400):
    scratched = bytearray(whole[:random.randrange(len(whole))] if i % 2 else whole)
    for _ in range(random.randrange(4)):
        if scratched:
            scratched[random.randrange(len(scratched))] = random.choice(b' \\n="0:,x\\x00\\xff')
    with open(path + "~", "wb") as file:
        file.write(scratched)
    os.replace(path + "~", path)
    nvmlShutdown()
    try:
        nvmlInit()
    except NVMLError:
        pass
    for device in range(2):
        try:
            handle = nvmlDeviceGetHandleByIndex(device)
            nvmlDeviceGetComputeRunningProcesses(handle), nvmlDeviceGetTotalEnergyConsumption(handle)
            nvmlDeviceGetGpuInstanceProfileInfo(handle, 4), nvmlDeviceGetMigDeviceHandleByIndex(handle, 1)
        except NVMLError:
            pass
    try:
        nvmlInit()
    except NVMLError:
        pass
print("lived")
"""
    environment = os.environ | driver_environment(path)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"lived\n"), done.stderr[-500:]


def test_a_file_that_is_gone_for_a_moment_changes_nothing(tmp_path: Path) -> None:
    host = Scenario.host(1)
    with on_host(tmp_path, host) as client:
        client.scenario.unlink()
        time.sleep(0.02)
        assert client.ask(NAME) == host.devices[0].name
        client.becomes(host.with_device(SimDevice(host.devices[0].uuid, name="Back")))
        assert client.ask(NAME) == "Back"


def test_a_replaced_file_is_taken_up_within_its_time(tmp_path: Path) -> None:
    host = Scenario.host(1)
    with on_host(tmp_path, host) as client:
        for i in range(50):
            host = host.with_utilization(0, i)
            client.becomes(host)
            assert client.ask("nvmlDeviceGetUtilizationRates(gpu(0)).gpu") == i


def test_two_scenarios_of_one_length_in_one_moment_are_told_apart(tmp_path: Path) -> None:
    """A file system stamps in steps of milliseconds and gives numbers of removed files away again."""
    host = Scenario.host(1)
    with on_host(tmp_path, host) as client:
        stamps = set()
        for i in range(10, 60):
            host.with_utilization(0, i).write(client.scenario)
            stamps.add(client.scenario.stat().st_mtime_ns)
        assert len(stamps) == 50


def test_a_reader_never_sees_half_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "scenario"
    Scenario.host(8).write(path)
    assert list(tmp_path.iterdir()) == [path], "the draft is gone"


def test_one_program_can_go_from_host_to_host(tmp_path: Path) -> None:
    other = tmp_path / "other"
    Scenario.host(5).with_driver_upgrade("590.10", 0).write(other)
    with on_host(tmp_path, Scenario.host(2)) as client:
        client.ask("nvmlShutdown()")
        client.ask(f"__import__('os').environ.update(GPUTALLY_SCENARIO={str(other)!r})")
        client.ask("nvmlInit()")
        assert client.ask("nvmlDeviceGetCount()") == 5


def test_the_example_in_the_documentation_is_a_scenario(tmp_path: Path) -> None:
    (example,) = re.findall(r"```scenario\n(.*?)```", PAGE.read_text(), re.S)
    (path := tmp_path / "scenario").write_text(example)
    with running(path) as client:
        client.ask("nvmlInit()")
        assert client.ask("nvmlDeviceGetCount()") == 3
        assert client.close() == ""


def test_all_keys_that_the_driver_takes_are_documented() -> None:
    source = "".join(path.read_text() for path in (PAGE.parents[1] / "simulator").glob("driver*.c"))
    keys = set(re.findall(r'\{"(\w+)", (?:read_|QUIRK_)\w+', source)) - {"ns"}
    assert len(keys) > 60
    assert [key for key in sorted(keys) if f"`{key}`" not in PAGE.read_text()] == []


def test_a_long_history_is_read_quickly(tmp_path: Path) -> None:
    steps = tuple(Step(i, i % 101) for i in range(100_000))
    with on_host(tmp_path, Scenario.host(1)) as client:
        Scenario.host(1).with_utilization(0, steps).write(client.scenario)
        time.sleep(0.01)
        begin_ns = boottime_ns()
        assert client.ask("nvmlDeviceGetUtilizationRates(gpu(0)).gpu") == 99_999 % 101
        assert boottime_ns() - begin_ns < 500_000_000
