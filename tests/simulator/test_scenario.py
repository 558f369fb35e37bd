"""Scenarios as values: changed into new ones, and asked what a right answer would be."""

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.simulator.scenario import (
    Fault,
    Scenario,
    SimDevice,
    SimProcess,
    Step,
    driver_environment,
    present,
    utilization,
    value_at,
)
from gputally.simulator.scenario_text import scenario_text


def test_a_change_gives_a_new_scenario_and_leaves_the_old_one() -> None:
    host = Scenario.host(2)
    busy = host.with_process(0, SimProcess(7)).with_fault(Fault("*", hang=True)).with_lost(1)
    assert host == Scenario.host(2)
    assert [p.pid for p in busy.devices[0].processes] == [7]
    assert busy.devices[1].lost and busy.faults[0].hang
    assert busy.without_process(0, 7).without_faults() == host.with_lost(1)
    with pytest.raises(FrozenInstanceError):
        busy.devices[0].lost = True  # type: ignore[misc]


def test_a_process_is_known_by_its_pid_and_kind() -> None:
    host = Scenario.host(1).with_process(0, SimProcess(7)).with_process(0, SimProcess(7, kind="graphics"))
    host = host.with_process(0, SimProcess(7, memory_bytes=5))
    assert sorted((p.kind, p.memory_bytes) for p in host.devices[0].processes if p.memory_bytes is not None) == [
        ("compute", 5), ("graphics", 1 << 30)]  # fmt: skip
    assert host.without_process(0, 7).devices[0].processes == ()


def test_a_device_is_named_by_index_or_uuid() -> None:
    host = Scenario.host(3)
    assert host.device(1) == host.device(host.devices[1].uuid) == host.devices[1]
    assert host.without_device(1).devices == (host.devices[0], host.devices[2])
    for unknown in (3, -1, "GPU-nobody"):
        with pytest.raises(KeyError, match="no device"):
            host.device(unknown)


def test_hosts_of_different_names_have_different_devices_and_the_same_name_the_same() -> None:
    assert Scenario.host(2) == Scenario.host(2)
    uuids = {device.uuid for name in ("a", "b", "c") for device in Scenario.host(16, name=name).devices}
    buses = {device.pci_bus_id for device in Scenario.host(16).devices}
    assert (len(uuids), len(buses)) == (48, 16)


def test_a_lost_device_returns_in_another_generation() -> None:
    host = Scenario.host(1)
    back = host.with_lost(0).with_returned(0)
    assert (back.devices[0].lost, back.devices[0].generation) == (False, host.devices[0].generation + 1)


def test_a_reload_starts_the_energy_of_all_devices_anew() -> None:
    host = Scenario.host(2).with_driver_missing().with_driver_reload(77)
    assert [device.energy_origin_ns for device in host.devices] == [77, 77]
    assert (host.driver.epoch, host.driver.missing) == (2, False)


def test_an_end_is_the_first_moment_in_which_a_process_is_not_there() -> None:
    host = Scenario.host(1).with_process(0, SimProcess(7, start_ns=10)).with_ended(0, 7, 20)
    assert [bool(present(host.devices[0], at)) for at in (9, 10, 19, 20)] == [False, True, True, False]


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 100)), unique_by=lambda s: s[0]), st.integers(0, 1000))
def test_a_schedule_holds_its_last_step(pairs: list[tuple[int, int]], at_ns: int) -> None:
    steps = tuple(Step(*pair) for pair in sorted(pairs))
    line = [0] * 1001
    for step in steps:
        line[step.at_ns :] = [step.value] * (1001 - step.at_ns)
    assert value_at(steps, at_ns) == utilization(SimDevice("", utilization_percent=steps), at_ns) == line[at_ns]


@pytest.mark.parametrize("name", ['say "cheese"', "two\nlines"])
def test_a_text_that_cannot_stand_in_a_line_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name: no quotation mark or line break"):
        scenario_text(Scenario((SimDevice("GPU-a", name=name),)))


def test_what_is_not_said_is_left_out() -> None:
    text = scenario_text(Scenario((replace(SimDevice("GPU-a"), processes=(SimProcess(7),)),)))
    assert "lost" not in text and "serial" not in text and "end=" not in text
    assert "start=0" in text and "sm=0" in text


def test_a_child_keeps_the_libraries_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/site/lib")
    environment = driver_environment("scenario")
    assert environment["LD_LIBRARY_PATH"].split(":")[1:] == ["/opt/site/lib"]
    assert environment["GPUTALLY_SCENARIO"].startswith("/")
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert ":" not in driver_environment("scenario")["LD_LIBRARY_PATH"], "an empty entry would be the current folder"
