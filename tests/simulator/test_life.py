"""Drivers that are missing, reloaded or upgraded; devices that fall off the bus and come back."""

from pathlib import Path

import pytest

from gputally.simulator.scenario import Scenario, SimDevice, boottime_ns, energy_mj

from .client import Client, on_host, running

NOT_LOADED, IS_LOST, MISMATCH, UNINITIALIZED, INVALID_ARGUMENT = 9, 15, 18, 1, 2
COUNT, NAME = "nvmlDeviceGetCount()", "nvmlDeviceGetName(gpu({}))"


def renew(client: Client) -> None:
    client.ask("nvmlShutdown()")
    client.ask("nvmlInit()")


# ---- the driver


def test_without_a_scenario_there_is_no_driver(tmp_path: Path) -> None:
    with running(tmp_path / "nowhere") as client:
        assert client.code("nvmlInit()") == NOT_LOADED
        assert client.code("nvmlInit()") == NOT_LOADED
        Scenario.host(1).write(tmp_path / "nowhere")
        client.ask("nvmlInit()")
        assert client.close().count("no such scenario") == 1


def test_a_missing_driver_can_be_loaded_later(tmp_path: Path) -> None:
    host, path = Scenario.host(2), tmp_path / "scenario"
    host.with_driver_missing().write(path)
    with running(path) as client:
        assert client.code("nvmlInit()") == NOT_LOADED
        client.becomes(host)
        client.ask("nvmlInit()")
        assert client.ask(COUNT) == 2
        client.becomes(host.with_driver_missing())
        assert client.code(COUNT) == NOT_LOADED
        client.ask("nvmlShutdown()")


def test_a_reloaded_driver_wants_a_new_init_and_counts_energy_anew(tmp_path: Path) -> None:
    host = Scenario.host(1).with_power(0, 10**9)
    with on_host(tmp_path, host) as client:
        before = client.ask("nvmlDeviceGetTotalEnergyConsumption(gpu(0))")
        reloaded = host.with_driver_reload(boottime_ns())
        client.becomes(reloaded)
        assert client.code(COUNT) == client.code("nvmlSystemGetDriverVersion()") == NOT_LOADED
        assert client.code("nvmlInit()") == 0, "one more reference to a library that is still on the old driver"
        assert client.code(COUNT) == NOT_LOADED
        client.ask("nvmlShutdown()")
        renew(client)
        after = client.ask("nvmlDeviceGetTotalEnergyConsumption(gpu(0))")
        assert after < before
        assert after <= energy_mj(reloaded.devices[0], boottime_ns())


def test_an_upgrade_under_a_running_program_is_cured_only_by_a_new_process(tmp_path: Path) -> None:
    host = Scenario.host(1)
    with on_host(tmp_path, host) as old:
        old.becomes(host.with_driver_upgrade("590.10", boottime_ns()))
        assert old.code(COUNT) == MISMATCH
        old.ask("nvmlShutdown()")
        assert old.code("nvmlInit()") == MISMATCH
        with running(old.scenario) as new:
            new.ask("nvmlInit()")
            assert new.ask("nvmlSystemGetDriverVersion()") == "590.10"


def test_an_upgrade_without_a_reload_hurts_only_new_processes(tmp_path: Path) -> None:
    """The packages are new, the kernel module is not yet."""
    host = Scenario.host(1)
    with on_host(tmp_path, host) as old:
        old.becomes(host.with_library_upgrade("590.10"))
        assert old.ask(COUNT) == 1
        with running(old.scenario) as new:
            assert new.code("nvmlInit()") == MISMATCH


# ---- devices


def test_a_lost_device_is_still_counted_and_costs_no_other_a_reading(tmp_path: Path) -> None:
    host = Scenario.host(3)
    with on_host(tmp_path, host) as client:
        client.ask("kept.update(held=gpu(1))")
        client.becomes(host.with_lost(1))
        assert client.ask(COUNT) == 3
        calls = ["nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetBrand"]
        assert {client.code(f"{call}(kept['held'])") for call in calls} == {IS_LOST}
        assert [client.code(NAME.format(i)) for i in range(3)] == [0, IS_LOST, 0]
        assert client.code(f"nvmlDeviceGetHandleByUUID({host.devices[1].uuid!r})") == IS_LOST


def test_a_returned_device_is_seen_after_a_new_init_only(tmp_path: Path) -> None:
    host = Scenario.host(2)
    with on_host(tmp_path, host.with_lost(0)) as client:
        assert (client.ask(COUNT), client.code(NAME.format(0))) == (2, IS_LOST)
        client.becomes(host.with_lost(0).with_returned(0))
        assert client.code(NAME.format(0)) == IS_LOST
        renew(client)
        assert client.code(NAME.format(0)) == 0


def test_a_device_that_was_lost_and_returned_unseen_is_lost_to_those_who_held_it(tmp_path: Path) -> None:
    host = Scenario.host(1)
    with on_host(tmp_path, host) as client:
        client.ask("kept.update(held=gpu(0))")
        client.becomes(host.with_lost(0).with_returned(0))
        assert client.code("nvmlDeviceGetName(kept['held'])") == IS_LOST
        renew(client)
        assert client.code(NAME.format(0)) == 0


def test_devices_that_come_and_go_are_those_of_the_last_init(tmp_path: Path) -> None:
    a, b, c = (SimDevice(f"GPU-{letter}", name=f"Model {letter}") for letter in "abc")
    with on_host(tmp_path, Scenario((a, b))) as client:
        client.becomes(Scenario((c, b)))
        assert client.ask(COUNT) == 2
        assert client.code(NAME.format(0)) == IS_LOST
        assert client.ask(NAME.format(1)) == "Model b"
        renew(client)
        assert [client.ask(NAME.format(i)) for i in range(2)] == ["Model c", "Model b"]
        client.becomes(Scenario((b, c)))
        assert [client.ask(NAME.format(i)) for i in range(2)] == ["Model c", "Model b"], "a handle stays with its GPU"


def test_all_devices_can_be_gone(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(2)) as client:
        client.becomes(Scenario())
        renew(client)
        assert client.ask(COUNT) == 0
        assert client.code("gpu(0)") == INVALID_ARGUMENT


@pytest.mark.parametrize("times", [1, 3])
def test_init_counts_its_callers(tmp_path: Path, times: int) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        client.ask(f"[nvmlInit() for _ in range({times})]")
        client.ask(f"[nvmlShutdown() for _ in range({times})]")
        assert client.ask(COUNT) == 1
        client.ask("nvmlShutdown()")
        assert client.code(COUNT) == UNINITIALIZED
