"""A usage store in plain Python: everything in lists, every question answered by walking all of them.

Slow, and too simple to be wrong in the same way as a database.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from gputally.model.decisions import Corrected, Decided, Decision, Overlay, OverlayKind
from gputally.model.identity import records_digest, row_digest, usage_key
from gputally.model.interval import NS_PER_S, Interval
from gputally.model.usage import DeviceWindow, Segment, UsageRecord
from gputally.model.workload import UNATTRIBUTED, Owner
from gputally.storage.usage_query import (
    Completeness,
    Dimension,
    Group,
    HostCompleteness,
    Key,
    Meter,
    Scope,
    Tag,
    UsageQuery,
    UsageSums,
    WindowLength,
)
from gputally.storage.usage_store import (
    Covered,
    HostState,
    LostFrames,
    Origin,
    Place,
    PutAside,
    RecordPlace,
    StoredRecord,
    StoredRow,
    Wanted,
)


@dataclass
class PlainStore:
    position: int = 0
    segments: list[tuple[Origin, DeviceWindow, tuple[UsageRecord, ...]]] = field(default_factory=list)
    superseded: dict[Place, int] = field(default_factory=dict)
    aside: list[PutAside] = field(default_factory=list)
    watermarks: list[tuple[int, str, int]] = field(default_factory=list)
    by_host: dict[str, HostState] = field(default_factory=dict)
    coverage: dict[tuple[str, str, str, int], Covered] = field(default_factory=dict)
    overlays: list[tuple[int, Overlay]] = field(default_factory=list)
    lost: list[LostFrames] = field(default_factory=list)

    def reopen(self, last_log_id: int) -> None:
        pass

    def close(self) -> None:
        pass

    @contextmanager
    def transaction(self, through_log_id: int) -> Generator[None]:
        before = deepcopy(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise
        self.position = through_log_id

    def add(self, origin: Origin, row: DeviceWindow, records: Sequence[UsageRecord]) -> None:
        self.segments.append((origin, row, tuple(records)))

    def supersede(self, old: StoredRow, by_log_id: int) -> None:
        self.superseded[old.place] = by_log_id

    def put_aside(self, what: PutAside) -> None:
        self.aside.append(what)

    def add_late(self, *_: object) -> None:
        raise NotImplementedError("nothing is sealed here")

    def settle_late(self) -> None:
        pass

    def sealed(self) -> list[Interval]:
        return []

    def is_touched(self, span: Interval, behind_log_id: int) -> bool:
        raise NotImplementedError("nothing is sealed here")

    def replaced_by(self, what: Decision) -> None:
        """Only corrections are decided here."""

    def lose(self, lost: LostFrames) -> None:
        self.lost.append(lost)

    def has_lost(self, host_id: str, epoch: bytes) -> bool:
        return any((each.host_id, each.epoch) == (host_id, epoch) for each in self.lost)

    def decide(self, log_id: int, decided: Decided) -> None:
        assert isinstance(decided.what, Corrected)
        there = {
            usage_key(origin.host_id, origin.boot_id, record)
            for origin, _, records in self.in_force(log_id)
            for record in records
        }
        self.overlays += [(log_id, overlay) for overlay in decided.what.overlays if overlay.usage_key in there]

    def carry_corrections(self, origin: Origin, segment: Segment, records: Sequence[UsageRecord]) -> None:
        """They are looked for by what they name, whatever the revision."""

    def owner(self, usage_key: bytes, record: UsageRecord, as_of: int) -> Owner | None:
        """None: the record does not count."""
        told = [overlay for log_id, overlay in self.overlays if log_id <= as_of and overlay.usage_key == usage_key]
        voids = [each for each in told if each.kind is not OverlayKind.REASSIGN]
        if voids and voids[-1].kind is OverlayKind.VOID:
            return None
        given = [each for each in told if each.kind is OverlayKind.REASSIGN]
        if not given:
            return record.owner
        return replace(record.owner, tenant=given[-1].tenant, project=given[-1].project, rule="correction", reason="")

    def note(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        pass

    def advance(self, log_id: int, host_id: str, complete_through_ns: int, received_ns: int) -> None:
        self.watermarks.append((log_id, host_id, complete_through_ns))

    def close_open_quarantine(self, host_id: str, to_ns: int) -> None:
        self.aside = [
            replace(each, to_ns=to_ns) if each.host_id == host_id and each.to_ns is None else each
            for each in self.aside
        ]

    def flush(self) -> None:
        pass

    def flush_if_large(self) -> None:
        pass

    def stored_rows(self, host_id: str, boot_id: str, wanted: Sequence[Wanted]) -> list[list[StoredRow]]:
        return [self._overlapping(host_id, boot_id, each)[:2] for each in wanted]

    def _overlapping(self, host_id: str, boot_id: str, wanted: Wanted) -> list[StoredRow]:
        found: list[StoredRow] = []
        for origin, row, _ in self.in_force(2**62):
            segment = row.segment
            told = (origin.host_id, origin.boot_id, segment.device_id, segment.generation)
            apart = segment.boot.end_ns <= wanted.boot.start_ns or wanted.boot.end_ns <= segment.boot.start_ns
            if told == (host_id, boot_id, wanted.device_id, wanted.generation) and not apart:
                window_s = segment.window_start_ns // NS_PER_S
                found.append(StoredRow(origin.log_id, origin.segment_no, segment.boot, row.revision, window_s))
        return sorted(found, key=lambda row: row.interval)

    def stored_digests(self, stored: Sequence[StoredRow]) -> dict[Place, bytes]:
        places = {row.place for row in stored}
        return {
            place: row_digest(replace(row, records_digest=records_digest(records)))
            for origin, row, records in self.segments
            if (place := (origin.log_id, origin.segment_no)) in places
        }

    def hosts(self) -> dict[str, HostState]:
        return deepcopy(self.by_host)

    def save_hosts(self, hosts: Iterable[HostState]) -> None:
        self.by_host.update({host.host_id: deepcopy(host) for host in hosts})

    def covered(self, host_id: str, boot_id: str) -> list[Covered]:
        return [each for each in self.coverage.values() if (each.host_id, each.boot_id) == (host_id, boot_id)]

    def save_covered(self, covered: list[Covered]) -> None:
        self.coverage.update({(each.host_id, each.boot_id, each.device_id, each.generation): each for each in covered})

    def open_losses(self) -> set[str]:
        return {each.host_id for each in self.aside if each.to_ns is None}

    def refresh(self, settled_ns: int) -> int:
        return 0

    def in_force(self, as_of: int) -> Iterator[tuple[Origin, DeviceWindow, tuple[UsageRecord, ...]]]:
        for origin, row, records in self.segments:
            gone = self.superseded.get((origin.log_id, origin.segment_no), 2**63) <= as_of
            if origin.log_id <= as_of and not gone:
                yield origin, row, records


@dataclass
class PlainAnswers:
    store: PlainStore

    @property
    def position(self) -> int:
        return self.store.position

    def sum_usage(self, query: UsageQuery, sku_of: Callable[[str], str]) -> UsageSums:
        groups: defaultdict[tuple[tuple[str | None, ...], int | None], Fraction] = defaultdict(Fraction)
        by_model: defaultdict[str, Fraction] = defaultdict(Fraction)
        by_org: defaultdict[str, Fraction] = defaultdict(Fraction)
        for host_id, record in self._records(query.scope):
            ns = _amount(record, query.meter)
            edges = [edge for edge in query.edges_ns if edge <= record.segment.window_start_ns]
            keys = tuple(_key(key, host_id, record, sku_of) for key in query.group_by)
            groups[keys, max(edges) if query.edges_ns else None] += ns
            by_model[record.segment.gpu_model] += ns
            by_org[record.owner.tenant] += ns
        ordered = sorted(groups.items(), key=lambda each: ([(k is not None, k) for k in each[0][0]], each[0][1] or 0))
        page = ordered[query.offset :][: query.limit]
        return UsageSums(
            tuple(Group(keys, window, int(ns)) for (keys, window), ns in page),
            len(ordered),
            {model: int(ns) for model, ns in sorted(by_model.items())},
            {org: int(ns) for org, ns in sorted(by_org.items())},
            int(sum(by_model.values())),
        )

    def completeness(self, scope: Scope) -> Completeness:
        rows = [row for _, row, _ in self.store.in_force(scope.as_of) if _inside(row.segment, scope)]
        nobodys = [record for _, record in self._records(scope) if record.owner.tenant == UNATTRIBUTED]
        span = scope.span
        aside = [
            each
            for each in self.store.aside
            if each.log_id <= scope.as_of and each.from_ns < span.end_ns and (each.to_ns or 2**63) > span.start_ns
        ]
        unobserved = sum((row.unobserved_total_ns * _fraction(row.segment) for row in rows), Fraction())
        unattributed = sum((_amount(record, Meter.ALLOCATED) for record in nobodys), Fraction())
        amount = sum(each.allocated_ns for each in aside)
        return Completeness(
            self._hosts(scope, aside), int(unobserved), int(unattributed), len(aside), amount, scope.tenant is not None
        )

    def _hosts(self, scope: Scope, aside: list[PutAside]) -> tuple[HostCompleteness, ...]:
        found: list[HostCompleteness] = []
        for host_id, host in sorted(self.store.by_host.items()):
            first = 0 if host.rejected_frames else host.first_window_ns
            if host.first_log_id > scope.as_of or first is None or first >= scope.span.end_ns:
                continue
            told = [ns for log_id, who, ns in self.store.watermarks if who == host_id and log_id <= scope.as_of]
            starts = [each.from_ns for each in aside if each.host_id == host_id]
            found.append(HostCompleteness(host_id, min([max(told), *starts]) if told else None))
        return tuple(found)

    def window_lengths(self, scope: Scope) -> list[WindowLength]:
        found: defaultdict[int, list[Segment]] = defaultdict(list)
        for _, row, _ in self.store.in_force(scope.as_of):
            start_ns, length_ns = row.segment.window_start_ns, row.segment.window_length_ns
            if start_ns < scope.span.end_ns and start_ns + length_ns > scope.span.start_ns:
                found[length_ns].append(row.segment)
        return [
            WindowLength(
                length_ns,
                all(each.window_start_ns % length_ns == 0 for each in segments),
                any(each.window_start_ns < scope.span.start_ns for each in segments),
                any(each.window_start_ns + length_ns > scope.span.end_ns for each in segments),
            )
            for length_ns, segments in sorted(found.items())
        ]

    def records(self, scope: Scope, after: RecordPlace, limit: int, host_id: str | None = None) -> list[StoredRecord]:
        found = [
            StoredRecord((origin.log_id, origin.segment_no, ordinal), origin.host_id, origin.boot_id, record, owner)
            for origin, _, records in self.store.in_force(scope.as_of)
            for ordinal, record in enumerate(records)
            if (owner := self.store.owner(usage_key(origin.host_id, origin.boot_id, record), record, scope.as_of))
            and _inside(record.segment, scope) and scope.tenant in (None, owner.tenant)
            and host_id in (None, origin.host_id)
        ]  # fmt: skip
        behind = [each for each in found if each.place > after]
        return sorted(behind, key=lambda each: each.place)[:limit]

    def _records(self, scope: Scope) -> Iterator[tuple[str, UsageRecord]]:
        for stored in self.records(scope, (-1, 0, 0), 10**9):
            yield stored.host_id, replace(stored.record, owner=stored.owner)


def _inside(segment: Segment, scope: Scope) -> bool:
    return scope.span.start_ns <= segment.window_start_ns < scope.span.end_ns


def _fraction(segment: Segment, memory: bool = False) -> Fraction:
    slices = segment.slices
    if slices is None:
        return Fraction(1)
    return Fraction(slices.memory, slices.memory_of) if memory else Fraction(slices.compute, slices.compute_of)


def _amount(record: UsageRecord, meter: Meter) -> Fraction:
    ns = {Meter.HELD: record.held_ns, Meter.BUSY: record.busy_ns}.get(meter, record.allocated_ns)
    return ns * _fraction(record.segment, meter is Meter.ALLOCATED_MEMORY)


def _key(key: Key, host_id: str, record: UsageRecord, sku_of: Callable[[str], str]) -> str | None:
    if isinstance(key, Tag):
        return dict(reversed(record.owner.tags)).get(key.key)
    segment, owner = record.segment, record.owner
    return {
        Dimension.SKU: sku_of(segment.gpu_model),
        Dimension.GPU_MODEL: segment.gpu_model,
        Dimension.ORG: owner.tenant,
        Dimension.PROJECT: owner.project,
        Dimension.WORKLOAD: record.workload.subject_id,
        Dimension.SESSION: record.session_id,
        Dimension.HOST: host_id,
        Dimension.DEVICE: segment.device_id,
    }[key]
