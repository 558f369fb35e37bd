"""The newest look wins, and a look that is too old shows nothing."""

from gputally.plugins.otel.view import HostView

from .sightings import GOOD, LOST, S, sighting


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_the_devices_are_those_of_the_newest_reading() -> None:
    view = HostView()
    view.put(sighting())
    assert list(view.look().devices) == [GOOD.device_id, LOST.device_id]
    view.put(sighting(devices=(GOOD,)))
    assert list(view.look().devices) == [GOOD.device_id]


def test_a_look_that_is_too_old_shows_devices_without_readings() -> None:
    clock = Clock()
    view = HostView(clock)
    view.put(sighting())
    clock.now_ns = 15 * S - 1
    assert len(view.look().seen) == 2
    clock.now_ns = 15 * S
    assert (view.look().seen, len(view.look().devices)) == ((), 2)


def test_energy_never_falls_when_the_driver_is_loaded_anew() -> None:
    view = HostView()
    shown: list[int] = []
    for counter_mj in (1_000, 1_500, None, 200, 300):
        view.put(sighting(counter_mj))
        shown.append(view.look().energy_mj[GOOD.device_id])
    assert shown == [1_000, 1_500, 1_500, 1_700, 1_800]
