"""The projection's own arithmetic, held against Python's."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gputally.model.conservation import tile
from gputally.model.interval import Interval
from gputally.model.usage import DeviceWindow, Segment, UsageRecord
from gputally.model.workload import Owner, Workload
from gputally.storage.ledger_folder import PROJECTION_FILE, LedgerBroken
from gputally.storage.projection import Projection
from gputally.storage.projection_conservation import faults
from gputally.storage.projection_reader import snapshot
from gputally.storage.projection_usage import sum_usage
from gputally.storage.usage_query import Dimension, Group, Scope, UsageQuery
from gputally.storage.usage_store import Covered, Origin

DAY_NS = 86_400 * 10**9
SPAN = Interval(0, DAY_NS)
IN_FOLDER = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip


@pytest.fixture(scope="module")
def projection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projection]:
    opened = Projection(tmp_path_factory.mktemp("projection"), "ledger", 0)
    yield opened
    opened.close()


def segment(start_ns: int, end_ns: int, device: str = "d", model: str = "m") -> Segment:
    return Segment(device, 0, model, Interval(start_ns, end_ns), start_ns, start_ns, 10**9)


def put(projection: Projection, log_id: int, segments: list[tuple[Segment, str, int]]) -> None:
    """Rows and records as they are, without asking whether they can be true."""
    with projection.transaction(log_id):
        for table in ("record", "device_row", "superseded"):
            projection._db.execute(f"DELETE FROM {table}")
        for number, (where, org, allocated_ns) in enumerate(segments):
            record = UsageRecord(where, Workload("docker", "w"), Owner(org), allocated_ns, allocated_ns)
            row = DeviceWindow(where, 0, (), 1, b"")
            projection.additions.add(Origin(log_id, number, "h", "b"), row, [record])
        projection.flush()


AMOUNTS = st.integers(0, 2**64 - 1)
PARTS = st.lists(
    st.tuples(st.integers(0, DAY_NS - 10**9), st.sampled_from("ABC"), st.sampled_from("mn"), AMOUNTS), max_size=40
)


@IN_FOLDER
@given(parts=PARTS)
def test_sums_are_those_of_integers_without_end(projection: Projection, parts: list[tuple[int, str, str, int]]) -> None:
    """Amounts as large as a record can hold, whose sum is far beyond 64 bits."""
    put(projection, 1, [(segment(at, at + 1, model=model), org, ns) for at, org, model, ns in parts])
    query = UsageQuery(Scope(SPAN, 1), (Dimension.GPU_MODEL, Dimension.ORG))
    with snapshot(projection) as seen:
        sums = sum_usage(seen, query, lambda _: "")
    by_both: Counter[tuple[str, ...]] = Counter()
    for _, org, model, ns in parts:
        by_both[model, org] += ns
    assert {group.keys: group.ns for group in sums.groups} == dict(by_both)
    assert sums.total_ns == sum(ns for *_, ns in parts)
    assert sum(sums.by_org.values()) == sum(sums.by_gpu_model.values()) == sums.total_ns
    assert list(sums.groups) == sorted(sums.groups, key=lambda group: group.keys)


@IN_FOLDER
@given(parts=PARTS, inner=st.lists(st.integers(1, DAY_NS - 1), unique=True, max_size=8))
def test_windows_of_any_length_add_up_to_the_whole(
    projection: Projection, parts: list[tuple[int, str, str, int]], inner: list[int]
) -> None:
    edges = (0, *sorted(inner))
    put(projection, 1, [(segment(at, at + 1), org, ns) for at, org, _, ns in parts])
    with snapshot(projection) as seen:
        sums = sum_usage(seen, UsageQuery(Scope(SPAN, 1), (Dimension.ORG,), edges_ns=edges), lambda _: "")
    expected: Counter[tuple[str, int]] = Counter()
    for at, org, _, ns in parts:
        expected[org, max(edge for edge in edges if edge <= at)] += ns
    assert {(group.keys[0], group.window_start_ns): group.ns for group in sums.groups} == dict(expected)


@IN_FOLDER
@given(pieces=st.dictionaries(st.integers(0, 60), st.integers(1, 20), min_size=1, max_size=12))
def test_the_tiling_in_the_store_is_that_of_the_model(projection: Projection, pieces: dict[int, int]) -> None:
    intervals = [Interval(start * 10**9, (start + length) * 10**9) for start, length in pieces.items()]
    put(projection, 1, [(segment(each.start_ns, each.end_ns), "A", 0) for each in intervals])
    with snapshot(projection) as seen:
        found = faults(seen, Scope(SPAN, 1), None)
    model = tile(intervals)
    assert sorted(fault.boot for fault in found if not fault.overlap) == list(model.holes)
    assert sorted(fault.boot for fault in found if fault.overlap) == sorted(model.overlaps)


def test_pages_are_cut_from_the_same_order_as_the_whole(projection: Projection) -> None:
    put(projection, 1, [(segment(n, n + 1), f"org-{n % 23:02d}", n) for n in range(100)])
    with snapshot(projection) as seen:
        whole = sum_usage(seen, UsageQuery(Scope(SPAN, 1), (Dimension.ORG,)), lambda _: "").groups
        pages: list[Group] = []
        for offset in range(0, 30, 7):
            query = UsageQuery(Scope(SPAN, 1), (Dimension.ORG,), offset=offset, limit=7)
            pages += sum_usage(seen, query, lambda _: "").groups
    assert tuple(pages) == whole and len(whole) == 23


def test_what_is_covered_is_replaced_as_a_whole(projection: Projection) -> None:
    first = Covered("h", "boot", "d1", 0, (Interval(0, 5), Interval(7, 9)))
    other = Covered("h", "boot", "d2", 1, (Interval(1, 2),))
    with projection.transaction(1):
        projection.save_covered([first, other])
        projection.save_covered([])
    joined = Covered("h", "boot", "d1", 0, (Interval(0, 9),))
    with projection.transaction(1):
        projection.save_covered([joined])
    assert sorted(projection.covered("h", "boot"), key=lambda each: each.device_id) == [joined, other]
    assert projection.covered("h", "another boot") == []


def test_a_snapshot_does_not_move_while_data_arrive(tmp_path: Path) -> None:
    projection = Projection(tmp_path, "ledger", 0)
    with snapshot(projection) as seen:
        put(projection, 7, [(segment(0, 1), "A", 5)])
        assert (seen.position, projection.position) == (0, 7)
        assert sum_usage(seen, UsageQuery(Scope(SPAN, 99), (Dimension.ORG,)), lambda _: "").total_ns == 0
    projection.close()


@pytest.mark.parametrize(
    ("ledger_id", "last_log_id", "kept"), [("ledger", 7, True), ("another", 7, False), ("ledger", 6, False)]
)
def test_a_projection_of_another_ledger_or_another_past_of_it_starts_anew(
    tmp_path: Path, ledger_id: str, last_log_id: int, kept: bool
) -> None:
    projection = Projection(tmp_path, "ledger", 0)
    put(projection, 7, [(segment(0, 1), "A", 5)])
    projection.close()
    again = Projection(tmp_path, ledger_id, last_log_id)
    assert again.position == (7 if kept else 0)
    again.close()


def test_what_is_no_projection_is_made_again(tmp_path: Path) -> None:
    (tmp_path / PROJECTION_FILE).write_bytes(b"not what it should be" * 1000)
    projection = Projection(tmp_path, "ledger", 0)
    assert projection.position == 0
    projection.close()
    stranger = duckdb.connect(tmp_path / PROJECTION_FILE)
    stranger.execute("DROP TABLE coverage")
    stranger.close()
    again = Projection(tmp_path, "ledger", 0)
    assert again.covered("h", "b") == []
    again.close()


def test_where_no_projection_can_be_made_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerBroken, match=PROJECTION_FILE):
        Projection(tmp_path / "missing", "ledger", 0)
