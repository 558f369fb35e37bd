"""Rollups change how fast an answer is, never what it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gputally.model.interval import NS_PER_S, Interval
from gputally.model.usage import Slices
from gputally.simulator.stream import SimulatedHost, Use, chain
from gputally.storage.projection_reader import snapshot
from gputally.storage.projection_summed import pieces_of
from gputally.storage.usage_query import Scope

from .folded import Folded
from .running import JUNE_NS
from .test_folding import batch, group, segment

HOUR_NS = 3600 * NS_PER_S
MINUTE = 60 * NS_PER_S
QUESTIONS: tuple[dict[str, str], ...] = (
    {},
    {"group_by": "project,host", "window": "day"},
    {"group_by": "org", "window": "hour"},
    {"group_by": "tenant", "window": "day", "tz": "Asia/Kolkata"},
    {"group_by": "workload"},
    {"group_by": "org", "range_from": "2025-06-01T00:07:00Z", "range_to": "2025-06-02T13:22:00Z"},
    {"group_by": "gpu_model", "window": "minute", "range_to": "2025-06-01T04:00:00Z"},
    {"meter": "busy"},
    {"meter": "allocated_memory", "group_by": "org"},
)


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[Folded]:
    with Folded(tmp_path) as opened:
        yield opened


def hosts() -> list[SimulatedHost]:
    """Three hosts, six hours, one of them with MIG instances of odd fractions and an unobserved stretch."""
    made: list[SimulatedHost] = []
    for number in range(3):
        host = SimulatedHost(f"gpu-{number}", records_per_frame=50)
        for device in range(2):
            half = JUNE_NS + (device + 1) * 2 * HOUR_NS
            host.hold(f"GPU-{number}-{device}", "NVIDIA L40", f"Org-{device}", Interval(JUNE_NS, half))
            host.hold(f"GPU-{number}-{device}", "NVIDIA L40", None, Interval(half, JUNE_NS + 6 * HOUR_NS))
        made.append(host)
    third = Slices("GPU-mig", 2, 7, 3, 8)
    made[2].uses.append(
        Use("MIG-1", "NVIDIA A100", "Org-M", Interval(JUNE_NS, JUNE_NS + 5 * HOUR_NS), slices=third, project="p")
    )
    made[2].uses.append(
        Use("GPU-lost", "NVIDIA A100", None, Interval(JUNE_NS, JUNE_NS + HOUR_NS), unobserved="gpu_lost")
    )
    return made


def ask(folded: Folded) -> list[dict[str, Any]]:
    return [folded.usage(**question) for question in QUESTIONS]


def rollups(folded: Folded) -> list[Any]:
    db = folded.projection.reader()
    return [
        db.execute(f"SELECT * FROM rollup_{level} ORDER BY ALL").fetchall()
        for level in ("quarter", "hour", "day", "month")
    ]


def test_an_answer_from_rollups_is_the_answer_from_records(folded: Folded) -> None:
    for host in hosts():
        folded.take(host.host_id, host.batches())
    before = ask(folded)
    assert folded.refresh() > 24
    with snapshot(folded.projection) as seen:
        span = Interval(JUNE_NS, JUNE_NS + 30 * 24 * HOUR_NS)
        pieces = pieces_of(seen, Scope(span, seen.position))
    assert pieces is not None and len(pieces.buckets) == 1 and not pieces.raw
    assert ask(folded) == before


def test_what_comes_late_or_is_revised_is_in_the_next_answer_before_and_after_the_rollup(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0), {"A": MINUTE}), group(segment(1), {"A": MINUTE}))])
    folded.refresh()
    folded.take("gpu-01", [batch(group(segment(1), {"B": MINUTE}, 1))], epoch=b"f" * 16)
    folded.take("gpu-01", [batch(group(segment(2), {"C": MINUTE}))], epoch=b"g" * 16)
    told = {org: each["ns"] for org, each in folded.usage()["totals_by_org"].items()}
    assert told == {"A": str(MINUTE), "B": str(MINUTE), "C": str(MINUTE)}
    between = ask(folded)
    assert folded.refresh() > 0
    assert ask(folded) == between


def test_an_older_answer_is_still_there_after_the_rollup_moved_on(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0), {"A": MINUTE}))])
    folded.refresh()
    before = folded.usage()
    folded.take("gpu-01", [batch(group(segment(0), {"B": MINUTE}, 1))], epoch=b"f" * 16)
    folded.refresh()
    assert folded.usage(as_of=before["as_of"])["totals_by_org"] == before["totals_by_org"]


def test_a_projection_made_again_has_the_rollups_of_one_that_grew(tmp_path: Path) -> None:
    """One grows frame by frame with a refresh after each; the other folds the same log at once."""
    grown, again = tmp_path / "grown", tmp_path / "again"
    for folder in (grown, again):
        folder.mkdir()
    with Folded(grown) as one, Folded(again) as other:
        for host in hosts():
            frames = list(chain(host.host_id, b"e" * 16, host.batches()))
            for frame in frames:
                one.take_frames(host.host_id, [frame], b"e" * 16)
                one.refresh()
            other.take_frames(host.host_id, frames, b"e" * 16)
        other.refresh()
        assert rollups(one) == rollups(other)
        assert [answer["items"] for answer in ask(one)] == [answer["items"] for answer in ask(other)]


def test_a_transaction_that_fails_leaves_neither_a_rollup_nor_a_mark(folded: Folded) -> None:
    folded.take("gpu-01", [batch(group(segment(0), {"A": MINUTE}))])
    folded.refresh()
    before = rollups(folded), ask(folded)

    def fail() -> None:
        with folded.projection.transaction(99):
            folded.projection.mark_dirty([JUNE_NS // NS_PER_S])
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        fail()
    assert folded.refresh() == 0
    assert (rollups(folded), ask(folded)) == before
