"""GPUs that a host had and does not show any more are an alarm, not zero usage."""

import logging

import pytest

from gputally.daemon.alarms import Alarms
from gputally.model.meter import Meter
from gputally.model.reading import Device, DeviceGap, DeviceReading, GapReason, HostReading
from gputally.model.usage import Slices
from gputally.model.workload import Attribution

S = 1_000_000_000
WALL_NS = 1_700_000_000 * S
GPUS = tuple(Device(f"nvidia:GPU-{name}", "H100", 80 << 30) for name in "abc")


class Host:
    """A meter that is told of each tick, and the alarms that look at it."""

    def __init__(self) -> None:
        self.meter, self.alarms, self.now_ns = Meter("h", "b", 60 * S), Alarms(), 0

    def tick(
        self,
        *good: Device,
        gaps: dict[Device, GapReason] | None = None,
        trouble: GapReason | None = None,
        at_s: int | None = None,
    ) -> list[tuple[str, list[str]]]:
        self.now_ns = self.now_ns + S if at_s is None else at_s * S
        parts: list[DeviceReading | DeviceGap] = [
            *(DeviceReading(one.device_id, self.now_ns) for one in good),
            *(DeviceGap(one.device_id, self.now_ns, reason) for one, reason in (gaps or {}).items()),
        ]
        shown = (*good, *(gaps or {}))
        reading = HostReading(self.now_ns, WALL_NS + self.now_ns, S, tuple(parts), shown, trouble=trouble)
        self.meter.observe(reading, Attribution("r"))
        self.alarms.look(self.meter, reading)
        return [(each["kind"], each["devices"]) for each in self.alarms.described()]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_host_that_shows_all_it_had_has_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    assert host.tick(*GPUS) == host.tick(*GPUS) == []
    assert errors(caplog) == []


def test_a_gpu_that_the_driver_no_longer_shows_is_one_error_with_its_uuid_and_since_when(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = Host()
    host.tick(*GPUS)
    for _ in range(5):
        assert host.tick(*GPUS[:2], gaps={GPUS[2]: GapReason.GPU_LOST}) == [("gpu_missing", ["GPU-c"])]
    assert host.alarms.described()[0]["since"] == "2023-11-14T22:13:22Z"
    (line,) = errors(caplog)
    assert "GPU-c" in line and "1 of the 3 GPUs" in line and "2023-11-14T22:13:22Z" in line


def test_no_gpu_at_all_after_a_restart_is_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """The inventory is what the checkpoint held; this life's probe has never seen one of them."""
    host = Host()
    host.tick(*GPUS)
    kinds = [host.tick(trouble=GapReason.GPU_LOST) for _ in range(3)]
    assert kinds == [[("no_gpus", ["GPU-a", "GPU-b", "GPU-c"])]] * 3
    (line,) = errors(caplog)
    assert "no_gpus" in line and all(f"GPU-{name}" in line for name in "abc")


def test_devices_of_the_boot_before_are_missed_in_this_one() -> None:
    before, host = Host(), Host()
    before.tick(*GPUS)
    before.meter.cut()
    host.meter.boot_id = "b2"
    host.meter.follow(before.meter, "reboot")
    assert host.tick(GPUS[0]) == [("gpu_missing", ["GPU-b", "GPU-c"])]


@pytest.mark.parametrize("reason", [GapReason.DRIVER_MISSING, GapReason.NVML_HANG, GapReason.NVML_ERROR])
def test_a_driver_that_starts_slowly_is_given_a_minute(reason: GapReason, caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.tick(*GPUS)
    for at_s in (2, 30, 61):
        assert host.tick(trouble=reason, at_s=at_s) == []
    assert host.tick(trouble=reason, at_s=62) == [("no_gpus", ["GPU-a", "GPU-b", "GPU-c"])]
    assert host.alarms.described()[0]["since"] == "2023-11-14T22:13:22Z"
    assert reason.value in errors(caplog)[0]


def test_a_driver_that_was_replaced_within_the_minute_was_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.tick(*GPUS)
    away = dict.fromkeys(GPUS, GapReason.DRIVER_RELOAD)
    for _ in range(40):
        assert host.tick(gaps=away) == []
    assert host.tick(*GPUS) == [] and errors(caplog) == []


def test_a_driver_that_was_let_go_of_is_no_alarm() -> None:
    host = Host()
    host.tick(*GPUS)
    gaps = dict.fromkeys(GPUS, GapReason.RELEASED)
    assert [host.tick(gaps=gaps, trouble=GapReason.RELEASED, at_s=at_s) for at_s in (2, 100, 9999)] == [[], [], []]
    assert host.tick(trouble=GapReason.RELEASED, at_s=20_000) == []


def test_a_gpu_that_hangs_is_there() -> None:
    host = Host()
    host.tick(*GPUS)
    gaps = {GPUS[2]: GapReason.NVML_HANG}
    assert [host.tick(*GPUS[:2], gaps=gaps, at_s=at_s) for at_s in (2, 100, 9999)] == [[], [], []]


def test_a_gpu_that_is_back_ends_the_alarm_and_another_one_is_told_anew(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.tick(*GPUS)
    host.tick(*GPUS[:2], gaps={GPUS[2]: GapReason.GPU_LOST})
    assert host.tick(*GPUS) == []
    assert any("no longer missing: GPU-c" in record.getMessage() for record in caplog.records)
    host.tick(*GPUS[1:], gaps={GPUS[0]: GapReason.GPU_LOST})
    assert host.tick(GPUS[1], gaps={GPUS[0]: GapReason.GPU_LOST, GPUS[2]: GapReason.GPU_LOST}) == [
        ("gpu_missing", ["GPU-a", "GPU-c"])
    ]
    assert len(errors(caplog)) == 3


def test_a_retired_gpu_is_missed_no_more() -> None:
    host = Host()
    host.tick(*GPUS)
    host.tick(*GPUS[:2], gaps={GPUS[2]: GapReason.GPU_LOST})
    assert host.meter.retire(GPUS[2].device_id)
    assert host.tick(*GPUS[:2], gaps={GPUS[2]: GapReason.GPU_LOST}) == []


def test_a_host_that_never_had_a_gpu_says_so_once_and_has_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gputally.daemon.alarms")
    host = Host()
    for _ in range(3):
        assert host.tick(trouble=GapReason.DRIVER_MISSING) == []
    assert len(caplog.records) == 1 and "no alarm" in caplog.text


def test_a_gpu_is_missed_however_many_instances_another_one_has() -> None:
    host = Host()
    instances = [Device(f"nvidia:MIG-{n}", "H100", 1 << 30, slices=Slices(GPUS[0].device_id, 1, 7, 1, 8)) for n in "12"]
    host.tick(*GPUS[:2], *instances)
    assert host.tick(GPUS[0], *instances) == [("gpu_missing", ["GPU-b"])]


def test_a_wall_clock_that_is_stepped_makes_no_driver_late() -> None:
    host = Host()
    host.tick(*GPUS)
    host.tick(trouble=GapReason.DRIVER_MISSING)
    reading = HostReading(3 * S, WALL_NS + 9999 * S, S, (), trouble=GapReason.DRIVER_MISSING)
    assert not host.alarms.look(host.meter, reading)


def test_a_mig_instance_that_was_destroyed_is_not_missed() -> None:
    host = Host()
    instance = Device("nvidia:MIG-1", "H100", 10 << 30, slices=Slices(GPUS[0].device_id, 1, 7, 1, 8))
    host.tick(GPUS[0], instance)
    assert host.tick(GPUS[0]) == []
