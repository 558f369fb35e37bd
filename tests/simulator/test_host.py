"""What a program sees of a host at rest: who the devices are, what they hold, how they are."""

from dataclasses import replace
from pathlib import Path

import pytest

from gputally.simulator.scenario import Scenario, SimDevice, SimProcess, Step, boottime_ns

from .client import on_host, running

NOT_SUPPORTED, NOT_FOUND, INVALID_ARGUMENT, UNINITIALIZED = 3, 6, 2, 1
INSUFFICIENT_SIZE, VERSION_MISMATCH = 7, 25
HOUR_NS = 3600 * 10**9


def test_every_device_is_who_the_scenario_says(tmp_path: Path) -> None:
    host = Scenario.host(10, "NVIDIA A100-SXM4-80GB")
    host = host.with_device(replace(host.devices[3], serial="1654922012345", minor=7))
    with on_host(tmp_path, host) as client:
        assert client.ask("nvmlDeviceGetCount()") == 10
        for index, device in enumerate(host.devices):
            assert client.ask(f"nvmlDeviceGetUUID(gpu({index}))") == device.uuid
            assert client.ask(f"nvmlDeviceGetName(gpu({index}))") == "NVIDIA A100-SXM4-80GB"
            assert client.ask(f"nvmlDeviceGetMinorNumber(gpu({index}))") == device.minor
            assert client.ask(f"nvmlDeviceGetPciInfo(gpu({index}))")["busId"] == device.pci_bus_id
            assert client.ask(f"nvmlDeviceGetIndex(nvmlDeviceGetHandleByUUID({device.uuid!r}))") == index
            assert client.ask(f"nvmlDeviceGetIndex(nvmlDeviceGetHandleByPciBusId({device.pci_bus_id!r}))") == index
        assert client.ask("nvmlDeviceGetSerial(gpu(3))") == "1654922012345"
        assert client.ask("nvmlDeviceGetIndex(nvmlDeviceGetHandleBySerial('1654922012345'))") == 3
        assert client.code("nvmlDeviceGetSerial(gpu(0))") == NOT_SUPPORTED


def test_a_device_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(2)) as client:
        assert client.code("nvmlDeviceGetHandleByIndex(2)") == INVALID_ARGUMENT
        assert client.code("nvmlDeviceGetHandleByUUID('GPU-nobody')") == NOT_FOUND
        assert client.code("nvmlDeviceGetHandleByPciBusId('0000:77:00.0')") == NOT_FOUND
        assert client.code("nvmlDeviceGetName(cast(c_void_p(4096), c_nvmlDevice_t))") == INVALID_ARGUMENT
        assert client.code("nvmlDeviceGetName(cast(c_void_p(None), c_nvmlDevice_t))") == INVALID_ARGUMENT


def test_versions_are_those_of_the_scenario(tmp_path: Path) -> None:
    host = Scenario.host(0)
    host = replace(host, driver=replace(host.driver, version="535.54.03", nvml="12.535.54.03", cuda=12020))
    with on_host(tmp_path, host) as client:
        assert client.ask("nvmlSystemGetDriverVersion()") == "535.54.03"
        assert client.ask("nvmlSystemGetNVMLVersion()") == "12.535.54.03"
        assert client.ask("nvmlSystemGetCudaDriverVersion()") == 12020
        assert client.ask("nvmlDeviceGetCount()") == 0


def test_a_text_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        assert client.ask("raw('nvmlDeviceGetName', gpu(0), create_string_buffer(8), 8)") == INSUFFICIENT_SIZE
        assert client.ask("raw('nvmlSystemGetDriverVersion', create_string_buffer(8), 8)") == INSUFFICIENT_SIZE
        assert client.ask("raw('nvmlDeviceGetName', gpu(0), None, 96)") == INVALID_ARGUMENT


def test_the_first_version_counts_reserved_memory_as_used_and_the_second_does_not(tmp_path: Path) -> None:
    device = SimDevice("GPU-a", memory_bytes=1000, reserved_bytes=100, unlisted_bytes=30)
    host = Scenario((device,)).with_process(0, SimProcess(5, memory_bytes=200))
    with on_host(tmp_path, host) as client:
        assert client.ask("nvmlDeviceGetMemoryInfo(gpu(0))") == {"total": 1000, "free": 670, "used": 330}
        second = client.ask("nvmlDeviceGetMemoryInfo(gpu(0), version=nvmlMemory_v2)")
        assert (second["total"], second["reserved"], second["free"], second["used"]) == (1000, 100, 670, 230)
        assert client.code("nvmlDeviceGetMemoryInfo(gpu(0), version=77)") == VERSION_MISMATCH


def test_readings_follow_their_schedules(tmp_path: Path) -> None:
    now_ns = boottime_ns()
    past = (Step(0, 1), Step(now_ns // 2, 42), Step(now_ns + HOUR_NS, 99))
    host = Scenario((SimDevice("GPU-a", utilization_percent=past, memory_utilization_percent=7,
                               power_mw=(Step(now_ns // 2, 350_123),), temperature_c=61),))  # fmt: skip
    with on_host(tmp_path, host) as client:
        assert client.ask("nvmlDeviceGetUtilizationRates(gpu(0))") == {"gpu": 42, "memory": 7}
        assert client.ask("nvmlDeviceGetPowerUsage(gpu(0))") == 350_123
        assert client.ask("nvmlDeviceGetTemperature(gpu(0), NVML_TEMPERATURE_GPU)") == 61
        assert client.ask("nvmlDeviceGetTemperatureV(gpu(0), NVML_TEMPERATURE_GPU)") == 61
        client.becomes(host.with_utilization(0, (Step(now_ns + HOUR_NS, 99),)))
        assert client.ask("nvmlDeviceGetUtilizationRates(gpu(0))")["gpu"] == 0, "before the first step"


def test_modes_are_off_unless_the_scenario_says_otherwise(tmp_path: Path) -> None:
    plain = SimDevice("GPU-a")
    old, sliced = replace(plain, uuid="GPU-b", mig="unsupported"), replace(plain, uuid="GPU-c", mig="enabled")
    with on_host(tmp_path, Scenario((plain, old, sliced))) as client:
        assert client.ask("nvmlDeviceGetMigMode(gpu(0))") == [0, 0]
        assert client.code("nvmlDeviceGetMigMode(gpu(1))") == NOT_SUPPORTED
        assert client.ask("nvmlDeviceGetMigMode(gpu(2))") == [1, 1]
        assert client.code("nvmlDeviceGetUtilizationRates(gpu(2))") == NOT_SUPPORTED
        assert client.code("nvmlDeviceGetProcessUtilization(gpu(2), 1)") == NOT_SUPPORTED
        assert client.ask("nvmlDeviceGetAccountingMode(gpu(0))") == 0
        assert client.ask("nvmlDeviceGetPersistenceMode(gpu(0))") == 1
        assert client.ask("nvmlDeviceGetComputeMode(gpu(0))") == 0
        assert client.ask("nvmlDeviceIsMigDeviceHandle(gpu(0))") == 0


def test_fields_are_answered_one_by_one(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(1).with_power(0, 81_000)) as client:
        energy, power, unknown = client.ask("nvmlDeviceGetFieldValues(gpu(0), [83, 186, 1])")
        assert (energy["nvmlReturn"], power["nvmlReturn"], unknown["nvmlReturn"]) == (0, 0, NOT_SUPPORTED)
        instant = "nvmlDeviceGetFieldValues(gpu(0), [NVML_FI_DEV_POWER_INSTANT])[0].value.uiVal"
        assert client.ask(instant) == 81_000


@pytest.mark.parametrize("call", ["nvmlDeviceGetCount()", "nvmlSystemGetDriverVersion()", "nvmlUnitGetCount()"])
def test_nothing_is_answered_before_init_and_after_the_last_shutdown(tmp_path: Path, call: str) -> None:
    (path := tmp_path / "scenario").write_text("driver\ndevice uuid=GPU-a\n")
    with running(path) as client:
        client.ask("pynvml._LoadNvmlLibrary()")
        assert client.code(call) == UNINITIALIZED
        client.ask("[nvmlInit(), nvmlInitWithFlags(0)]")
        client.ask("nvmlShutdown()")
        assert client.code(call) != UNINITIALIZED, "initialised twice, shut down once"
        client.ask("nvmlShutdown()")
        assert client.code(call) == UNINITIALIZED
        assert client.code("nvmlShutdown()") == UNINITIALIZED


def test_a_handle_is_good_again_after_a_new_init(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        client.ask("kept.update(held=gpu(0))")
        client.ask("nvmlShutdown()")
        assert client.code("nvmlDeviceGetName(kept['held'])") == UNINITIALIZED
        client.ask("nvmlInit()")
        assert client.code("nvmlDeviceGetName(kept['held'])") == 0
