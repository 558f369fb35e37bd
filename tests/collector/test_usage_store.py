"""Every usage store answers alike: the same log folded into each, the same questions asked of each.

A store that is to come joins by a line in STORES. The plain one is the measure.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputally.collector.folding import Folding
from gputally.collector.folding_state import FoldingState
from gputally.model.decisions import OWN_HOST_ID, Corrected, Decided, Overlay, OverlayKind
from gputally.model.identity import record_digest, records_digest, usage_key
from gputally.model.interval import NS_PER_S, Interval
from gputally.model.usage import Batch, DeviceWindow, Segment, Slices, UsageRecord
from gputally.model.workload import Owner, Workload
from gputally.proto.convert import decode_batch, encode_batch
from gputally.proto.convert_decision import encode_decided
from gputally.storage.frame import genesis_hash, make_frame, read_frame
from gputally.storage.ledger_reader import Entry
from gputally.storage.ledger_rules import EntryKind, StreamId
from gputally.storage.projection import Projection
from gputally.storage.projection_answers import answers
from gputally.storage.usage_query import Dimension, Key, Meter, Scope, Tag, UsageQuery
from gputally.storage.usage_store import UsageAnswers, UsageStore

from .plain_store import PlainAnswers, PlainStore
from .running import JUNE_NS

MINUTE = 60 * NS_PER_S
EPOCH = b"e" * 16


@contextmanager
def plain() -> Generator[tuple[UsageStore, UsageAnswers]]:
    store = PlainStore()
    yield store, PlainAnswers(store)


class Asking:
    """Each question in a snapshot of its own, so that it sees what was just folded."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection

    def __getattr__(self, name: str) -> Callable[..., object]:
        def ask(*arguments: object) -> object:
            with answers(self.projection) as seen:
                return getattr(seen, name)(*arguments)

        return ask


@contextmanager
def duckdb() -> Generator[tuple[UsageStore, UsageAnswers]]:
    with TemporaryDirectory() as folder:
        projection = Projection(Path(folder), "ledger", 2**60)
        try:
            yield projection, Asking(projection)  # type: ignore[misc]
        finally:
            projection.close()


STORES = {"duckdb": duckdb}
NAMES = st.sampled_from(["A", "B", "unattributed"])
AMOUNTS = st.integers(0, MINUTE)


@st.composite
def groups(draw: st.DrawFn) -> tuple[str, list[UsageRecord], DeviceWindow]:
    """A segment on one of a few hosts and devices, somewhere in three hours, in a whole or an odd place."""
    minute = draw(st.integers(0, 180))
    device = draw(st.sampled_from(["d1", "d2", "mig"]))
    slices = Slices("gpu", draw(st.sampled_from([1, 2, 3])), 7, 1, 8) if device == "mig" else None
    start_ns = JUNE_NS + minute * MINUTE
    where = Segment(
        device, 0, "L40" if device == "d1" else "H100", Interval(minute * MINUTE, (minute + 1) * MINUTE),
        start_ns + draw(st.integers(0, 5)), start_ns, MINUTE, slices=slices,
    )  # fmt: skip
    revision, left, records = draw(st.integers(0, 2)), MINUTE, []
    for name in draw(st.lists(NAMES, unique=True, max_size=3)):
        ns = draw(st.integers(0, left))
        left -= ns
        tags = tuple((key, name) for key in draw(st.lists(st.sampled_from("xy"), max_size=2)))
        owner = Owner(name, draw(st.sampled_from(["", "p"])), tags=tags)
        records.append(
            UsageRecord(where, Workload("docker", name), owner, ns, ns, busy_ns=draw(AMOUNTS), revision=revision)
        )
    unobserved = draw(st.integers(0, left))
    reasons = (("gpu_lost", unobserved),) if unobserved else ()
    row = DeviceWindow(where, left - unobserved, reasons, len(records), records_digest(records), revision=revision)
    return draw(st.sampled_from(["h1", "h2"])), records, row


GROUPS = st.lists(groups(), max_size=25)
KEYS: st.SearchStrategy[Key] = st.sampled_from([*Dimension, Tag("x")])
QUESTIONS = st.lists(
    st.tuples(
        st.lists(KEYS, min_size=1, max_size=3, unique=True), st.sampled_from(Meter), st.integers(0, 170),
        st.integers(1, 180), st.sampled_from([0, 5, 15, 60]), st.sampled_from([None, "A"]), st.integers(0, 30),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def entries(told: list[tuple[str, list[UsageRecord], DeviceWindow]]) -> Iterator[Entry]:
    for log_id, (host_id, records, row) in enumerate(told, 1):
        through_ns = row.segment.window_start_ns if log_id % 3 == 0 else None
        batch = Batch(host_id, "boot", tuple(records), (row,), through_ns)
        frame = make_frame(EPOCH, log_id, genesis_hash(host_id, EPOCH), len(records), encode_batch(batch))
        yield Entry(log_id, StreamId(host_id, EPOCH), log_id, EntryKind.FRAME, b"", 2**61, frame.to_bytes())


CORRECTIONS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 200), st.sampled_from(OverlayKind), st.sampled_from(["A", "Z"])),
    max_size=4,
)


def corrected(log: list[Entry], told: list[tuple[int, int, OverlayKind, str]]) -> list[Entry]:
    """The log with decisions in it, each about some record of what stands before it or will come."""
    records = [
        (batch.host_id, record)
        for entry in log
        for batch in [decode_batch(read_frame(entry.body).payload())]
        for record in batch.records
    ]
    mixed = list(log)
    for at, which, kind, tenant in told if records else ():
        host_id, record = records[which % len(records)]
        decided = Decided("kim", 1, "why", Corrected((overlay(host_id, record, kind, tenant),)))
        frame = make_frame(EPOCH, 1, EPOCH * 2, 0, encode_decided(decided))
        own = Entry(0, StreamId(OWN_HOST_ID, EPOCH), 1, EntryKind.FRAME, b"", 2**61, frame.to_bytes())
        mixed.insert(at % (len(mixed) + 1), own)
    return [replace(entry, log_id=log_id) for log_id, entry in enumerate(mixed, 1)]


def overlay(host_id: str, record: UsageRecord, kind: OverlayKind, tenant: str) -> Overlay:
    segment = record.segment
    owner = (tenant, "p") if kind is OverlayKind.REASSIGN else ()
    return Overlay(
        usage_key(host_id, "boot", record),
        host_id,
        "boot",
        segment.device_id,
        segment.generation,
        segment.boot.start_ns,
        record.workload.kind,
        record.workload.id,
        record.session_id,
        segment.window_start_ns,
        record.revision,
        record_digest(record),
        kind,
        *owner,
    )


def fold(store: UsageStore, log: list[Entry], at_once: int) -> None:
    for start in range(0, len(log), at_once):
        some = log[start : start + at_once]
        with store.transaction(some[-1].log_id):
            folding = Folding(store, FoldingState(store), lambda *_: 0)
            for entry in some:
                folding.take(entry)
            folding.finish()


def query(asked: tuple[list[Key], Meter, int, int, int, str | None, int], position: int) -> UsageQuery:
    keys, meter, start, length, window, tenant, as_of = asked
    span = Interval(JUNE_NS + start * MINUTE, JUNE_NS + (start + length) * MINUTE)
    edges = tuple(range(span.start_ns, span.end_ns, window * MINUTE)) if window else ()
    return UsageQuery(Scope(span, max(0, position - as_of), tenant), tuple(keys), meter, edges)


@pytest.mark.parametrize("name", STORES)
@settings(max_examples=40, deadline=None)
@given(
    told=GROUPS, corrections=CORRECTIONS, questions=QUESTIONS, at_once=st.integers(1, 7), refreshed=st.integers(0, 2)
)
def test_a_store_answers_with_the_integers_of_the_plain_one(
    name: str,
    told: list[tuple[str, list[UsageRecord], DeviceWindow]],
    corrections: list[tuple[int, int, OverlayKind, str]],
    questions: list[tuple[list[Key], Meter, int, int, int, str | None, int]],
    at_once: int,
    refreshed: int,
) -> None:
    """Whatever comes again, revised, overlapping or contradicting; rollups made never, half-way, or at the end."""
    log = corrected(list(entries(told)), corrections)
    half = len(log) // 2 if refreshed == 1 else 0
    with STORES[name]() as (store, there), plain() as (measure, expected):
        fold(measure, log, at_once)
        fold(store, log[:half], at_once)
        while refreshed and store.refresh(2**62):
            pass
        fold(store, log[half:], at_once)
        while refreshed == 2 and store.refresh(2**62):
            pass
        for asked in questions:
            wanted = query(asked, len(log))
            sums = there.sum_usage(wanted, lambda model: model[:1])
            assert sums == expected.sum_usage(wanted, lambda model: model[:1])
            assert there.completeness(wanted.scope) == expected.completeness(wanted.scope)
            assert there.window_lengths(wanted.scope) == expected.window_lengths(wanted.scope)
            assert there.records(wanted.scope, (0, 0, 0), 7) == expected.records(wanted.scope, (0, 0, 0), 7)
        assert store.hosts() == measure.hosts()


@pytest.mark.parametrize("name", [*STORES, "plain"])
def test_a_transaction_that_fails_leaves_nothing_behind(name: str) -> None:
    segment = Segment("d1", 0, "L40", Interval(0, MINUTE), JUNE_NS, JUNE_NS, MINUTE)
    row = DeviceWindow(segment, MINUTE, (), 0, records_digest([]))
    log = list(entries([("h1", [], row), ("h1", [], replace(row, revision=1))]))
    with {**STORES, "plain": plain}[name]() as (store, there):
        fold(store, log[:1], 1)
        with pytest.raises(RuntimeError), store.transaction(2):
            folding = Folding(store, FoldingState(store), lambda *_: 0)
            folding.take(log[1])
            folding.finish()
            raise RuntimeError("the power went")
        assert store.position == 1
        assert store.hosts()["h1"].superseded == 0
        fold(store, log[1:], 1)
        assert (store.position, store.hosts()["h1"].superseded) == (2, 1)
        lengths = there.window_lengths(Scope(Interval(JUNE_NS, JUNE_NS + MINUTE), 2))
        assert [each.length_ns for each in lengths] == [MINUTE]
