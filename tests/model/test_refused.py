"""What a full log could not keep becomes a gap of exactly that length."""

from gputally.model.conservation import check_batch, tile
from gputally.model.refused import Refused
from gputally.model.usage import Batch

from .host import PaperHost, Run, S


def two_minutes() -> PaperHost:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    for tick in range(181):
        host.tick(tick * S)
    return host


def test_refused_windows_become_one_gap_that_still_tiles() -> None:
    first, second, third = two_minutes().batches[-3:]
    refused = Refused()
    refused.add(first)
    refused.add(second)
    after = refused.before(third)
    assert [row.unobserved_ns for row in after.rows] == [(("buffer_full", 120 * S),), ()]
    assert check_batch(after) == []
    assert tile(row.segment.boot for row in after.rows).holes == ()


def test_energy_of_refused_windows_is_unobserved_to_the_millijoule() -> None:
    first, second, _ = two_minutes().batches[-3:]
    refused = Refused()
    refused.add(first)
    refused.add(second)
    (row,) = refused.rows.values()
    assert row.unobserved_energy_mj == 2 * 60 * 300_000


def test_nothing_refused_changes_nothing() -> None:
    batch = Batch("h", "b")
    assert Refused().before(batch) == batch
