"""An epoch ends when the energy counter may have begun anew, and a restart of ours ends none."""

import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.model.reading import HostReading
from gputally.plugins.nvml.epochs import MOST_MJ, DeviceEpoch
from gputally.plugins.nvml.evidence import Evidence
from gputally.simulator.scenario import Fault, Scenario, boottime_ns

from .rig import Host, S, all_good, gaps, good, hang, on_host

BUS = "00000000:18:00.0"


# ---- what the kernel has kept


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """As far as evidence reads it. What is made anew has another inode, as in sysfs: nothing here is removed."""
    (tmp_path / "module" / "nvidia").mkdir(parents=True)
    links = tmp_path / "bus" / "pci" / "drivers" / "nvidia"
    links.mkdir(parents=True)
    (links / "0000:18:00.0").symlink_to("anywhere")
    return tmp_path


def made_anew(path: Path) -> None:
    path.rename(path.with_name(path.name + ".before"))
    path.mkdir()


def test_a_restart_under_the_same_driver_has_the_same_number(sysfs: Path) -> None:
    assert Evidence("boot", sysfs).number(BUS, "580.1") == Evidence("boot", sysfs).number(BUS, "580.1")


def test_a_module_that_was_loaded_anew_gives_another_number(sysfs: Path) -> None:
    before = Evidence("boot", sysfs).number(BUS, "580.1")
    made_anew(sysfs / "module" / "nvidia")
    assert Evidence("boot", sysfs).number(BUS, "580.1") != before


def test_a_device_that_was_bound_anew_gives_another_number_and_its_neighbours_do_not(sysfs: Path) -> None:
    links = sysfs / "bus" / "pci" / "drivers" / "nvidia"
    (links / "0000:2a:00.0").symlink_to("anywhere")
    evidence = Evidence("boot", sysfs)
    here, there = evidence.number(BUS, "580.1"), evidence.number("00000000:2A:00.0", "580.1")
    made_anew(links / "0000:2a:00.0")
    assert evidence.number("00000000:2A:00.0", "580.1") != there
    assert evidence.number(BUS, "580.1") == here


def test_another_boot_and_another_version_give_other_numbers(sysfs: Path) -> None:
    numbers = {
        Evidence(boot, sysfs).number(BUS, version) for boot in ("boot", "later") for version in ("580.1", "590.1")
    }
    assert len(numbers) == 4


def test_a_domain_beyond_four_digits_is_found_too(sysfs: Path) -> None:
    links = sysfs / "bus" / "pci" / "drivers" / "nvidia"
    evidence = Evidence("boot", sysfs)
    before = evidence.number("00010000:18:00.0", "580.1")
    (links / "10000:18:00.0").symlink_to("anywhere")
    assert evidence.number("00010000:18:00.0", "580.1") != before


def test_without_sysfs_there_is_a_number_all_the_same(tmp_path: Path) -> None:
    evidence = Evidence("boot", tmp_path / "none")
    assert evidence.module() is None
    assert evidence.number("", "580.1") == evidence.number("", "580.1") > 0


# ---- what the daemon sees


class Meter:
    """A device whose counter is read every second by child 1."""

    def __init__(self) -> None:
        self.epoch, self.rejected, self.now_ns = DeviceEpoch(base=100, number=100), Counter[str](), 0

    def read(self, mj: int | None, after_s: int = 1, child: int = 1) -> tuple[int | None, int]:
        """What is told: the counter and the epoch."""
        self.now_ns += after_s * S
        self.epoch.read(child)
        told = self.epoch.energy_mj(mj, self.now_ns, self._reject)
        return told, self.epoch.number

    def _reject(self, reason: str) -> None:
        self.rejected[reason] += 1


def test_a_counter_that_goes_on_is_one_epoch() -> None:
    meter = Meter()
    assert [meter.read(mj) for mj in (5, 5, 900_000, 1_700_000)] == [
        (5, 100), (5, 100), (900_000, 100), (1_700_000, 100),
    ]  # fmt: skip


def test_a_counter_that_fell_begins_a_new_epoch_once_a_second_reading_bears_it_out() -> None:
    meter = Meter()
    meter.read(900_000_000)
    assert meter.read(1000) == (None, 100)
    assert meter.read(701_000) == (701_000, 101)
    assert meter.rejected == {"energy_backwards": 1}


@pytest.mark.parametrize(
    ("nonsense", "reason"),
    [
        (0, "energy_backwards"),
        (900_000_000 - 1, "energy_backwards"),
        (1 << 40, "energy_jump"),
        (MOST_MJ + 1, "energy_jump"),
    ],
)
def test_nonsense_told_once_is_counted_and_changes_nothing(nonsense: int, reason: str) -> None:
    meter = Meter()
    meter.read(900_000_000)
    assert meter.read(nonsense) == (None, 100)
    assert meter.read(901_400_000) == (901_400_000, 100)
    assert meter.rejected == {reason: 1}


def test_a_counter_at_which_nothing_can_be_understood_is_never_believed() -> None:
    meter = Meter()
    meter.read(0)
    told = [meter.read(mj)[0] for mj in (1 << 50, 1 << 40, 1 << 58, 1 << 45)]
    assert told == [None] * 4


def test_a_driver_that_knows_no_value_says_all_ones_and_is_not_believed() -> None:
    assert Meter().read((1 << 64) - 1) == (None, 100)


def test_a_value_that_is_missing_changes_nothing() -> None:
    meter = Meter()
    meter.read(700)
    assert meter.read(None) == (None, 100)
    assert meter.read(1400) == (1400, 100)


def test_a_device_that_returned_is_in_a_new_epoch_even_if_its_counter_grew_again() -> None:
    meter = Meter()
    meter.read(700)
    meter.epoch.gone(child=1)
    assert meter.read(1400, child=2) == (1400, 101)
    assert meter.read(2100, child=2) == (2100, 101)


def test_a_child_that_still_misses_what_a_younger_one_reads_well_tells_nothing() -> None:
    meter = Meter()
    meter.read(700, child=2)
    meter.epoch.gone(child=1)
    assert meter.read(1400, child=2) == (1400, 100)


def test_other_evidence_is_a_new_epoch_and_the_counter_begins_there() -> None:
    meter = Meter()
    meter.read(900_000_000)
    meter.epoch.introduced(4000)
    assert meter.read(5) == (5, 4000)
    meter.epoch.introduced(4000)
    assert meter.read(700_005) == (700_005, 4000)
    assert not meter.rejected


@given(st.lists(st.tuples(st.integers(0, 1400), st.booleans()), max_size=40), st.data())
def test_nonsense_now_and_then_neither_makes_nor_loses_energy(
    seconds: list[tuple[int, bool]], data: st.DataObject
) -> None:
    meter, true_mj = Meter(), 10**12
    for watt, nonsense in seconds:
        if nonsense and meter.epoch.last is not None:
            low, high = st.integers(0, 10**12 - 1), st.integers(2 * 10**12, 1 << 64)
            assert meter.read(data.draw(low | high), after_s=0) == (None, 100)
        true_mj += watt * 1000
        assert meter.read(true_mj) == (true_mj, 100)


# ---- real children on the fake driver


def numbers(reading: HostReading) -> list[int]:
    return [one.epoch for one in good(reading).values()]


def test_a_child_that_dies_ends_no_epoch(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = numbers(await host.read())
        os.kill(host.probe.child_pid or 0, signal.SIGKILL)
        after = await host.until(all_good)
        assert numbers(after) == before

    on_host(tmp_path, Scenario.host(2), story)


def test_a_hang_that_ends_ends_no_epoch(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = numbers(await host.read())
        await host.becomes(host.scenario.with_fault(hang(1)))
        assert 1 in gaps(await host.read())
        await host.becomes(host.scenario.without_faults())
        assert numbers(await host.until(all_good)) == before

    on_host(tmp_path, Scenario.host(2), story)


def test_another_daemon_under_the_same_driver_tells_the_same_epoch(tmp_path: Path) -> None:
    told = list[list[int]]()

    async def story(host: Host) -> None:
        told.append(numbers(await host.read()))

    for _ in range(2):
        on_host(tmp_path, Scenario.host(2), story)
    assert told[0] == told[1]


def test_a_gpu_that_was_lost_and_returned_is_in_a_new_epoch_and_its_neighbours_are_not(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = numbers(await host.read())
        await host.becomes(host.scenario.with_lost(1))
        assert list(gaps(await host.read())) == [1]
        await host.becomes(host.scenario.with_returned(1))
        after = numbers(await host.until(all_good))
        assert (after[0] == before[0], after[1] == before[1], after[2] == before[2]) == (True, False, True)
        for _ in range(5):
            assert numbers(await host.read()) == after

    on_host(tmp_path, Scenario.host(3), story)


@pytest.mark.parametrize("reloaded", ["reload", "upgrade"])
def test_a_driver_that_was_loaded_anew_ends_the_epoch_of_every_device(tmp_path: Path, reloaded: str) -> None:
    async def story(host: Host) -> None:
        before = numbers(await host.read())
        now_ns = boottime_ns()
        scenario = host.scenario
        anew = (
            scenario.with_driver_reload(now_ns)
            if reloaded == "reload"
            else scenario.with_driver_upgrade("600.1", now_ns)
        )
        await host.becomes(anew)
        after = await host.until(all_good)
        assert not set(numbers(after)) & set(before)
        energy = [one.energy_mj for one in good(after).values()]
        assert all(mj is not None and mj < 70 * 10_000 for mj in energy)

    on_host(tmp_path, Scenario.host(2), story)


def test_a_reset_in_place_is_noticed_by_the_counter_alone(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = numbers(await host.read())
        reset = replace(host.scenario.devices[1], energy_origin_ns=boottime_ns())
        await host.becomes(host.scenario.with_device(reset))
        first = good(await host.read())[1]
        assert (first.energy_mj, first.epoch) == (None, before[1])
        second = good(await host.read())[1]
        assert second.energy_mj is not None
        assert second.epoch not in before

    on_host(tmp_path, Scenario.host(2), story)


def test_a_release_may_hide_that_the_driver_was_loaded_anew_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        before = numbers(await host.read())
        assert await host.probe.release(2)
        host.probe.resume()
        assert not set(numbers(await host.until(all_good))) & set(before)

    on_host(tmp_path, Scenario.host(2), story)


# ---- boards that count no energy


def test_a_board_without_an_energy_counter_tells_its_power_instead(tmp_path: Path) -> None:
    fault = Fault("nvmlDeviceGetTotalEnergyConsumption", "NOT_SUPPORTED", device=1)

    async def story(host: Host) -> None:
        first, second = good(await host.read())[1], good(await host.read())[1]
        assert (first.energy_mj, first.power_mw) == (second.energy_mj, second.power_mw) == (None, 312_345)
        beside = good(await host.read())[0]
        assert beside.energy_mj is not None
        assert beside.power_mw is None

    on_host(tmp_path, Scenario.host(2).with_power(1, 312_345).with_fault(fault), story)


def test_power_costs_no_call_more_than_energy_does(tmp_path: Path) -> None:
    fault = Fault("nvmlDeviceGetTotalEnergyConsumption", "NOT_SUPPORTED")

    async def story(host: Host) -> None:
        await host.read()
        calls = (await host.read()).driver_calls
        await host.becomes(host.scenario.with_fault(fault))
        await host.read()
        assert (await host.read()).driver_calls == calls

    on_host(tmp_path, Scenario.host(1), story)


def test_a_counter_that_only_fails_now_is_not_replaced_by_power(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        one = good(await host.read())[0]
        assert (one.energy_mj, one.power_mw) == (None, None)

    on_host(tmp_path, Scenario.host(1).with_fault(Fault("nvmlDeviceGetTotalEnergyConsumption", "TIMEOUT")), story)


def test_a_power_that_no_board_draws_is_not_believed(tmp_path: Path) -> None:
    fault = Fault("nvmlDeviceGetTotalEnergyConsumption", "NOT_SUPPORTED")

    async def story(host: Host) -> None:
        reading = await host.read()
        assert good(reading)[0].power_mw is None
        assert dict(reading.rejected) == {"power_most": 1}

    on_host(tmp_path, Scenario.host(1).with_power(0, 4_000_000_000).with_fault(fault), story)
