"""A batch is cut to frames between devices, never through one."""

from gputally.model.batching import split
from gputally.model.conservation import check_batch
from gputally.model.usage import Batch

from .host import PaperHost, Run, S


def batch_of(devices: int, workloads: int) -> Batch:
    names = tuple(f"nvidia:GPU-{n}" for n in range(devices))
    runs = [Run(d * 100 + w, f"t{w}", 0, 90 * S, names[d]) for d in range(devices) for w in range(workloads)]
    host = PaperHost(runs, names)
    for tick in range(61):
        host.tick(tick * S)
    return host.batches[-1]


def test_each_part_obeys_the_law_by_itself() -> None:
    whole = batch_of(6, 4)
    parts = split(whole, 9)
    assert [len(part.records) for part in parts] == [8, 8, 8]
    assert all(check_batch(part) == [] for part in parts)
    assert tuple(r for part in parts for r in part.records) == whole.records


def test_the_watermark_travels_with_the_last_part_only() -> None:
    whole = batch_of(3, 4)
    assert [part.complete_through_ns for part in split(whole, 4)] == [None, None, whole.complete_through_ns]


def test_a_batch_that_says_only_how_far_it_is_complete_stays_one() -> None:
    batch = Batch("h", "b", complete_through_ns=7)
    assert split(batch, 10) == [batch]
