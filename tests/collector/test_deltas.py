"""A receiver that only adds comes out right, whatever is revised, reassigned, voided and lifted on the way."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputally.collector.exports.events import event, event_chunks
from gputally.model.decisions import OverlayKind
from gputally.storage.projection_deltas import Delta
from gputally.storage.usage_store import StoredRecord

from .folded import Folded
from .story import Story
from .test_folding import MINUTE


def sums(changes: list[Delta]) -> Counter[tuple[str, int]]:
    told: Counter[tuple[str, int]] = Counter()
    for delta in changes:
        told[delta.tenant, delta.window_start_ns] += delta.sign * delta.allocated_ns
    return Counter({key: ns for key, ns in told.items() if ns})


def truth(found: list[StoredRecord]) -> Counter[tuple[str, int]]:
    told: Counter[tuple[str, int]] = Counter()
    for each in found:
        told[each.owner.tenant, each.record.segment.window_start_ns] += each.record.allocated_ns
    return Counter({key: ns for key, ns in told.items() if ns})


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with Folded(tmp_path) as folded:
        yield Story(folded)


orgs, minutes = st.sampled_from("AB"), st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("revise"), minutes, st.dictionaries(orgs, st.integers(1, MINUTE // 2), max_size=2)),
    st.tuples(st.just("correct"), st.sampled_from(OverlayKind), minutes, orgs, st.sampled_from("CD")),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(steps, min_size=1, max_size=8))
def test_adding_up_all_changes_gives_the_ledger_at_every_log_id(told: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Folded(Path(folder)) as folded:
        story = Story(folded)
        for name, *arguments in told:
            getattr(story, str(name))(*arguments)
        newest = story.log_ids[-1]
        whole = story.changes(newest)
        ids = [event(delta)["id"] for delta in whole]
        assert len(set(ids)) == len(ids)
        for log_id in story.log_ids:
            wanted = truth(story.in_force(log_id))
            until_then = story.changes(log_id)
            assert sums(until_then) == wanted
            assert sums(until_then + story.changes(newest, since=log_id)) == truth(story.in_force(newest))
            assert sums(story.changes(log_id, lasting=True)) == wanted
            # What was told once is told again by the same names.
            assert [event(d) for d in until_then] == [event(d) for d in whole if d.log_id <= log_id]
        for tenant in "ABCD":
            assert story.changes(newest, tenant=tenant) == [delta for delta in whole if delta.tenant == tenant]


def test_a_reassignment_is_taken_from_one_and_given_to_the_other(story: Story) -> None:
    story.revise(0, {"A": 40, "B": 20})
    story.correct(OverlayKind.REASSIGN, 0, "A", "C")
    told = [
        (delta.sign, delta.tenant, delta.allocated_ns) for delta in story.changes(story.log_ids[-1], story.log_ids[0])
    ]
    assert told == [(-1, "A", 40), (1, "C", 40)]


def test_a_later_word_of_the_host_does_not_bring_a_void_back(story: Story) -> None:
    story.revise(0, {"A": 40})
    story.correct(OverlayKind.VOID, 0, "A")
    story.revise(0, {"A": 50})
    assert sums(story.changes(story.log_ids[-1])) == {}
    story.correct(OverlayKind.LIFT, 0, "A")
    assert list(sums(story.changes(story.log_ids[-1])).values()) == [50]


def test_an_event_is_one_line_of_json_that_names_itself(story: Story) -> None:
    story.revise(0, {"A": 40})
    story.revise(0, {})
    lines = b"".join(event_chunks(story.changes(story.log_ids[-1]))).splitlines()
    added, taken = map(json.loads, lines)
    assert added["specversion"] == "1.0"
    assert added["data"]["allocated_ns"] == "40"
    assert taken["data"]["allocated_ns"] == "-40"
    assert added["id"].removesuffix(".add") == taken["id"].removesuffix(".retract")
    assert added["subject"] == "A"
    assert added["time"] == "2025-06-01T00:00:00Z"
