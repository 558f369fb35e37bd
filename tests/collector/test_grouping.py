"""Grouping by session and by tag, quarter hours, and billing cycles that do not begin on the first."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputally.collector.grid import Window, edges_ns
from gputally.collector.instants import format_instant
from gputally.collector.problems import BadParameter
from gputally.model.identity import records_digest
from gputally.model.interval import NS_PER_S, Interval
from gputally.model.usage import DeviceWindow, UsageRecord
from gputally.model.workload import Owner

from .folded import Folded
from .test_folding import MINUTE, batch, group, segment


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[Folded]:
    with Folded(tmp_path) as opened:
        yield opened


def told(minute: int, session: str, *tags: tuple[str, str]) -> tuple[list[UsageRecord], DeviceWindow]:
    (record,), row = group(segment(minute))
    record = replace(record, session_id=session, owner=Owner("A", "p", tags=tags))
    return [record], replace(row, records_digest=records_digest([record]))


def test_usage_is_grouped_by_what_a_tag_says_and_its_absence_is_null(folded: Folded) -> None:
    folded.take(
        "gpu-01",
        [
            batch(
                told(0, "s1", ("team", "vision"), ("cost", "team")),
                told(1, "s2", ("cost", "team"), ("team", "speech")),
                told(2, "", ("cost", "team")),
                told(3, "s1", ("team", "vision")),
            )
        ],
    )
    by_tag = {item["tag:team"]: item["ns"] for item in folded.usage(group_by="tag:team")["items"]}
    assert by_tag == {None: str(MINUTE), "speech": str(MINUTE), "vision": str(2 * MINUTE)}
    both = [(item["tag:cost"], item["session"]) for item in folded.usage(group_by="tag:cost,session")["items"]]
    assert both == [(None, "s1"), ("team", ""), ("team", "s1"), ("team", "s2")]
    folded.refresh()
    assert {item["tag:team"]: item["ns"] for item in folded.usage(group_by="tag:team")["items"]} == by_tag


def test_quarter_hours_add_up_to_the_hour(folded: Folded) -> None:
    folded.take("gpu-01", [batch(*(group(segment(minute)) for minute in range(0, 60, 7)))])
    for _ in range(2):
        quarters = folded.usage(group_by="org", window="quarter")["items"]
        assert [item["window_start"][11:16] for item in quarters] == ["00:00", "00:15", "00:30", "00:45"]
        assert sum(int(item["ns"]) for item in quarters) == 9 * MINUTE
        folded.refresh()


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"cycle": "15"}, "cycle"),
        ({"cycle": "29", "window": "month"}, "cycle"),
        ({"cycle": "0", "window": "month"}, "cycle"),
        ({"group_by": "tag:"}, "group_by"),
        ({"group_by": "tag:" + "x" * 201}, "group_by"),
        ({"group_by": "tag:a,tag:a"}, "group_by"),
    ],
)
def test_a_cycle_or_tag_that_cannot_be_is_refused(folded: Folded, asked: dict[str, str], parameter: str) -> None:
    with pytest.raises(BadParameter, match=parameter):
        folded.usage(**asked)


def test_a_cycle_begins_at_local_midnight_of_its_day(folded: Folded) -> None:
    zone = ZoneInfo("Europe/Berlin")
    span = Interval(1_748_736_000 * NS_PER_S, 1_753_000_000 * NS_PER_S)
    edges = [format_instant(edge, zone) for edge in edges_ns(span, Window.MONTH, zone, cycle=15)]
    assert edges == ["2025-05-15T00:00:00+02:00", "2025-06-15T00:00:00+02:00", "2025-07-15T00:00:00+02:00"]


@given(st.integers(86_400 * 60, 2**32), st.integers(1, 28))
def test_cycles_follow_each_other_and_hold_what_was_asked_for(start_s: int, cycle: int) -> None:
    span = Interval(start_s * NS_PER_S, (start_s + 200 * 86_400) * NS_PER_S)
    edges = edges_ns(span, Window.MONTH, UTC, cycle)
    assert edges[0] <= span.start_ns < edges[1]
    assert all(28 <= (after - before) // (86_400 * NS_PER_S) <= 31 for before, after in pairwise(edges))
