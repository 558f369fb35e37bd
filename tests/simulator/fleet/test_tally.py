"""What a fleet says of itself adds up over its processes."""

from collections import Counter

from gputally.simulator.fleet.tally import Tally, percentile_ms


def test_tallies_of_two_processes_add_up() -> None:
    one, other = Tally(frames=2, delays_ms=Counter({5: 1})), Tally(frames=3, delays_ms=Counter({5: 2, 7: 1}))
    one.note_trouble("hung up")
    other.note_trouble("hung up")
    one.add(other)
    assert (one.frames, one.retries, one.trouble, one.delays_ms) == (5, 2, {"hung up": 2}, {5: 3, 7: 1})


def test_reasons_beyond_the_bound_are_counted_together() -> None:
    tally = Tally()
    for number in range(50):
        tally.note_refusal(f"reason {number}")
    assert len(tally.refused) == 21 and tally.refused["others"] == 30


def test_a_percentile_is_a_delay_that_occurred() -> None:
    delays_ms = Counter({10: 90, 50: 6, 900: 4})
    assert [percentile_ms(delays_ms, percent) for percent in (50, 90, 95, 99, 100)] == [10, 10, 50, 900, 900]
    assert percentile_ms(Counter(), 95) is None
