"""Stretches of allocated time, from records."""

from pathlib import Path

from gputally.model.interval import Interval
from gputally.simulator.stream import MINUTE_NS, SimulatedHost
from gputally.storage.projection_reader import snapshot
from gputally.storage.projection_slices import Fractions
from gputally.storage.projection_spans import allocated_spans
from gputally.storage.usage_query import Scope

from ..collector.folded import ALL, Folded

GPU, JUNE = "nvidia:GPU-1", 1_748_736_000 * 10**9


def spans_of(folder: Path, host: SimulatedHost, key: str) -> list[tuple[object, ...]]:
    with Folded(folder) as folded:
        folded.take(host.host_id, host.batches())
        with snapshot(folded.projection) as seen:
            return allocated_spans(seen, Scope(ALL, seen.position), Fractions("compute", 1), (key,))


def test_minutes_that_follow_each_other_at_the_same_rate_are_one_stretch(tmp_path: Path) -> None:
    host = SimulatedHost("gpu-01")
    host.hold(GPU, "H100", "A", Interval(JUNE, JUNE + 90 * MINUTE_NS + 7))
    host.hold("nvidia:GPU-2", "H100", "A", Interval(JUNE + 30 * MINUTE_NS, JUNE + 60 * MINUTE_NS))
    host.hold(GPU, "H100", "B", Interval(JUNE + 200 * MINUTE_NS, JUNE + 201 * MINUTE_NS))
    host.hold(GPU, "H100", "A", Interval(JUNE + 300 * MINUTE_NS, JUNE + 301 * MINUTE_NS))
    m = MINUTE_NS
    assert spans_of(tmp_path, host, "tenant") == [
        ("A", JUNE, JUNE + 30 * m, 30 * m),
        ("A", JUNE + 30 * m, JUNE + 60 * m, 60 * m),
        ("A", JUNE + 60 * m, JUNE + 90 * m + 7, 30 * m + 7),
        ("A", JUNE + 300 * m, JUNE + 301 * m, m),
        ("B", JUNE + 200 * m, JUNE + 201 * m, m),
    ]
