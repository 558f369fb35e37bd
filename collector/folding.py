"""What each entry of the log means for the projection. A pure function of the entries and their order,
so that a projection made again from the log is the same to the last nanosecond.

A segment, that is a conservation row with its records, is taken or put aside as
one group, by (revision, digest) of its row; the digest covers the records too:

====================================  ======================================================
the segment's time                    what is done
====================================  ======================================================
touches nothing accounted for         new: taken
there, same revision, same digest     duplicate: counted
there, higher revision                supersedes; what it replaces is kept beside
there, lower revision                 stale: counted
there, same revision, other digest    conflict: quarantine
overlaps another segment              metered twice: quarantine
overlaps, a gap of what was given up  cut to what nothing else accounts for; the rest is stale
new, or a revision; in a sealed time  what it changes is booked as an adjustment in the first open period
breaks the law of conservation        quarantine
====================================  ======================================================
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..model.conservation import check_row
from ..model.decision_reach import changed_time
from ..model.decisions import OWN_HOST_ID, Decided, PeriodSealed
from ..model.identity import row_digest
from ..model.interval import NS_PER_S, Interval
from ..model.predecessor import Predecessor
from ..model.usage import Batch, DeviceWindow, Segment, UsageRecord
from ..proto.convert import decode_batch
from ..proto.convert_decision import decode_decided
from ..storage.frame import read_frame
from ..storage.ledger_folder import LedgerBroken
from ..storage.ledger_reader import Entry
from ..storage.ledger_rules import EntryKind, StreamId
from ..storage.skip import SkipReason
from ..storage.usage_store import HostState, LostFrames, Origin, PutAside, StoredRow, UsageStore
from .folding_others import fold_others
from .folding_state import FoldingState
from .told_late import in_holes, is_told_late

_log = logging.getLogger(__name__)
HeldThrough = Callable[[StreamId, int], int]
"""How far the ledger had a stream before a log entry: part of the log, so that it is the same whenever it is folded."""
_FURTHEST_NS = 2**62 - 1
"""Beyond this (the year 2116) a time is nonsense, and sums of two would not fit the projection's integers."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A conservation row, its place in the batch, and its records."""

    number: int
    row: DeviceWindow
    records: list[UsageRecord]


class Folding:
    """Folds entries inside one transaction of the projection; ``finish`` before it ends."""

    def __init__(self, store: UsageStore, state: FoldingState, held_through: HeldThrough) -> None:
        self._store = store
        self._state = state
        self._held_through = held_through

    def take(self, entry: Entry) -> None:
        if entry.stream.host_id == OWN_HOST_ID:
            self._decide(entry)
            return
        host = self._state.host(entry.stream.host_id, entry.log_id)
        host.last_log_id, host.last_received_ns = entry.log_id, entry.received_ns
        if entry.kind is EntryKind.TOMBSTONE:
            self._lose(entry, host, f"rejected on arrival: {entry.body.decode()}")
            return
        if entry.kind is EntryKind.SKIP:
            self._pass_over(entry, host)
            return
        try:
            batch = decode_batch(read_frame(entry.body).payload())
        except ValueError as error:
            self._lose(entry, host, f"cannot be decoded: {error}")
            return
        host.frames += 1
        self._take_batch(entry, host, batch)
        self._store.settle_late()
        if batch.predecessor is not None:
            # In a later frame it is what an epoch that came to nothing had said; that is the next one's story.
            host.forks += entry.seq == 1 and batch.predecessor.reason == "fork"
            self._miss_what_ended(entry, host, batch.predecessor)
        fold_others(entry, batch, self._state, self._store.note)
        self._advance(entry, host, batch.complete_through_ns)
        self._store.flush_if_large()

    def finish(self) -> None:
        self._store.flush()
        self._store.save_hosts(self._state.changed_hosts())
        self._store.save_covered(self._state.changed_coverage())

    def _decide(self, entry: Entry) -> None:
        """Raises LedgerBroken for what only a newer gputally knows: to go on without it would be to guess."""
        try:
            decided = decode_decided(read_frame(entry.body).payload())
        except ValueError as error:
            raise LedgerBroken(f"log entry {entry.log_id}, of the ledger's own stream, {error}") from None
        holds = (
            self._seal(entry, decided.what) if isinstance(decided.what, PeriodSealed) else self._is_open(entry, decided)
        )
        if holds:
            self._store.decide(entry.log_id, decided)

    def _is_open(self, entry: Entry, decided: Decided) -> bool:
        """It was checked before it was made, but perhaps before the seal was in force: that is the law all the same."""
        changed = changed_time(self._store.replaced_by(decided.what), decided.what)
        if any(map(self._state.is_sealed, changed)):
            _log.warning("log entry %d: a decision by %s about sealed time holds nothing", entry.log_id, decided.by)
            return False
        return True

    def _seal(self, entry: Entry, seal: PeriodSealed) -> bool:
        """A root that something has overtaken on its way into the log proves nothing: such a seal never was."""
        span = Interval(seal.from_ns, seal.to_ns)
        if self._state.is_sealed(span) or self._store.is_touched(span, seal.as_of):
            _log.warning("log entry %d: a seal that came too late, or twice, holds nothing", entry.log_id)
            return False
        self._state.seal(span)
        return True

    def _take_batch(self, entry: Entry, host: HostState, batch: Batch) -> None:
        groups, orphans = _grouped(batch)
        wrong = _what_is_wrong(groups)
        again: list[_Group] = []
        for group in self._cut_to_holes(host, batch, groups):
            segment = group.row.segment
            what = wrong.get((segment.device_id, segment.boot.start_ns)) or _impossible(segment, group.records)
            if what:
                self._put_aside(entry, host, segment, group.records, what)
            elif not self._place(entry, host, batch, group):
                again.append(group)
        for segment, records in orphans.items():
            self._put_aside(entry, host, segment, records, "has no conservation row")
        if again:
            self._place_again(entry, host, batch, again)

    def _cut_to_holes(self, host: HostState, batch: Batch, groups: list[_Group]) -> Iterator[_Group]:
        """What its host gave up may be here all the same: then the row it comes with is stale, where it is."""
        spare = len(groups)
        for group in groups:
            segment = group.row.segment
            coverage = self._state.coverage(batch.host_id, batch.boot_id, segment.device_id, segment.generation)
            if not is_told_late(group.row) or not coverage.overlaps(segment.boot):
                yield group
                continue
            host.stale += 1
            for row in list(in_holes(group.row, coverage)):
                yield _Group(spare, row, [])
                spare += 1

    def _place(self, entry: Entry, host: HostState, batch: Batch, group: _Group) -> bool:
        """False: its time is accounted for already, so it takes a look at what is stored."""
        segment = group.row.segment
        coverage = self._state.coverage(batch.host_id, batch.boot_id, segment.device_id, segment.generation)
        if coverage.overlaps(segment.boot):
            return False
        if coverage.is_full:
            self._put_aside(entry, host, segment, group.records, "leaves too many holes between segments")
        else:
            coverage.add(segment.boot)
            self._state.note_changed(batch.host_id, batch.boot_id, segment.device_id, segment.generation)
            self._add(entry, host, batch, group)
        return True

    def _place_again(self, entry: Entry, host: HostState, batch: Batch, groups: list[_Group]) -> None:
        self._store.flush()  # so that what came a moment ago is found too
        stored = self._store.stored_rows(batch.host_id, batch.boot_id, [group.row.segment for group in groups])
        digests = self._store.stored_digests(_equal(groups, stored))
        replaced: dict[tuple[int, int], StoredRow] = {}
        for group, rows in zip(groups, stored, strict=True):
            segment = group.row.segment
            if len(rows) != 1 or rows[0].interval != segment.boot:
                what = "overlaps time that another segment accounts for"
                self._put_aside(entry, host, segment, group.records, what)
                continue
            old = replaced.get(rows[0].place, rows[0])
            replaced[rows[0].place] = self._revise(entry, host, batch, group, old, digests)

    def _revise(
        self,
        entry: Entry,
        host: HostState,
        batch: Batch,
        group: _Group,
        old: StoredRow,
        digests: dict[tuple[int, int], bytes],
    ) -> StoredRow:
        """Decides between what is stored and what has come; returns what is in force then, and tells its digest."""
        row = group.row
        if row.revision < old.revision:
            host.stale += 1 + len(group.records)
        elif self._moves_into_or_out_of_a_seal(row.segment, old):
            what = "revises a segment under another window, and one of the two is sealed"
            self._put_aside(entry, host, row.segment, group.records, what)
        elif row.revision > old.revision:
            host.superseded += 1
            self._add(entry, host, batch, group, old)
            window_s = row.segment.window_start_ns // NS_PER_S
            new = StoredRow(entry.log_id, group.number, old.interval, row.revision, window_s)
            digests[new.place] = row_digest(row)
            return new
        elif row_digest(row) == digests[old.place]:
            host.duplicates += 1 + len(group.records)
        else:
            what = f"says revision {row.revision} again with other content"
            self._put_aside(entry, host, row.segment, group.records, what)
        return old

    def _moves_into_or_out_of_a_seal(self, segment: Segment, old: StoredRow) -> bool:
        """No host does this; a record that changes its month would otherwise change a sealed one."""
        if segment.window_start_ns // NS_PER_S == old.window_s:
            return False
        starts_ns = segment.window_start_ns, old.window_s * NS_PER_S
        return any(self._state.booked_ns(start_ns) is not None for start_ns in starts_ns)

    def _add(self, entry: Entry, host: HostState, batch: Batch, group: _Group, old: StoredRow | None = None) -> None:
        """In place of ``old``; where its period is sealed that stays, and the difference is booked in an open one."""
        origin = Origin(entry.log_id, group.number, batch.host_id, batch.boot_id)
        segment = group.row.segment
        _expect_from(host, segment.window_start_ns)
        host.records += len(group.records)
        booked_ns = self._state.booked_ns(segment.window_start_ns)
        if booked_ns is not None:
            host.late += 1
            self._store.add_late(origin, group.row, group.records, old, booked_ns, entry.received_ns)
            return
        if old is not None:
            self._store.supersede(old, entry.log_id)
        self._store.add(origin, group.row, group.records)
        if old is not None:
            self._store.carry_corrections(origin, segment, group.records)

    def _put_aside(
        self, entry: Entry, host: HostState, segment: Segment, records: list[UsageRecord], what: str
    ) -> None:
        """Kept apart and counted, never fixed. The bytes stay in the log, at the entry that is named."""
        host.quarantined += 1
        start_ns, end_ns = _bounded(segment.window_start_ns), _bounded(_window_end_ns(segment))
        _expect_from(host, start_ns)
        self._store.put_aside(
            PutAside(
                entry.log_id,
                entry.stream.host_id,
                segment.device_id,
                start_ns,
                max(end_ns, start_ns + 1),
                len(records),
                sum(record.allocated_ns for record in records),
                what,
            )
        )
        _log.error(
            "quarantined: host %s, log entry %d, device %s, window of %d: %s",
            entry.stream.host_id,
            entry.log_id,
            segment.device_id,
            segment.window_start_ns,
            what,
        )

    def _pass_over(self, entry: Entry, host: HostState) -> None:
        """The host declares the time of what it dropped in rows of its own; of what it had trimmed it knows nothing."""
        skip = read_frame(entry.body).skip
        if skip is not None and skip.reason == SkipReason.TRIMMED:
            what = f"frames {skip.first_seq} to {entry.seq} were acknowledged once, and neither side has them any more"
            self._lose(entry, host, what)

    def _miss_what_ended(self, entry: Entry, host: HostState, ended: Predecessor) -> None:
        """Frames of the epoch before that the ledger has not, and the host will not say any more.

        An epoch that is itself begun anew says again what it says of its own predecessor: counted once.
        """
        lost = ended.lost_behind(self._held_through(StreamId(host.host_id, ended.epoch), entry.log_id))
        if lost is None:
            return
        if not self._store.has_lost(host.host_id, ended.epoch):
            self._store.lose(LostFrames(entry.log_id, host.host_id, ended.epoch, *lost))
            what = f"frames {lost[0]} to {lost[1]} of the ended epoch {ended.epoch.hex()} never came and will not"
            self._hold_back(entry, host, what)

    def _lose(self, entry: Entry, host: HostState, what: str) -> None:
        """A frame whose content cannot be read."""
        host.rejected_frames += 1
        self._hold_back(entry, host, what)

    def _hold_back(self, entry: Entry, host: HostState, what: str) -> None:
        """Whatever it held lies after the last watermark and before the next: that time is not complete any more."""
        self._state.open_losses.add(host.host_id)
        from_ns = host.watermark_ns or 0
        self._store.put_aside(PutAside(entry.log_id, host.host_id, "", from_ns, None, 0, 0, what))
        _log.error("quarantined: host %s, log entry %d: %s", host.host_id, entry.log_id, what)

    def _advance(self, entry: Entry, host: HostState, told_ns: int | None) -> None:
        """A watermark never goes back, and never beyond the collector's own time."""
        through_ns = min(told_ns, entry.received_ns) if told_ns is not None else None
        if through_ns is None or (host.watermark_ns is not None and through_ns <= host.watermark_ns):
            return
        host.watermark_ns = through_ns
        self._store.advance(entry.log_id, host.host_id, through_ns, entry.received_ns)
        if host.host_id in self._state.open_losses:
            self._state.open_losses.remove(host.host_id)
            self._store.close_open_quarantine(host.host_id, through_ns)


def _equal(groups: Iterable[_Group], stored: Iterable[list[StoredRow]]) -> list[StoredRow]:
    """The stored rows whose content decides, since what has come has the same revision."""
    pairs = zip(groups, stored, strict=True)
    return [rows[0] for group, rows in pairs if len(rows) == 1 and rows[0].revision == group.row.revision]


def _grouped(batch: Batch) -> tuple[list[_Group], dict[Segment, list[UsageRecord]]]:
    """Each row with its records, and the records that have no row."""
    records: defaultdict[Segment, list[UsageRecord]] = defaultdict(list)
    for record in batch.records:
        records[record.segment].append(record)
    groups = [_Group(number, row, records.pop(row.segment, [])) for number, row in enumerate(batch.rows)]
    return groups, records


def _what_is_wrong(groups: Iterable[_Group]) -> dict[tuple[str, int], str]:
    """What breaks the law, by device and start of its segment."""
    found: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for group in groups:
        for violation in check_row(group.row, group.records):
            found[violation.device_id, violation.boot_start_ns].append(violation.what)
    return {place: "; ".join(whats) for place, whats in found.items()}


def _impossible(segment: Segment, records: Iterable[UsageRecord]) -> str:
    """Why a segment that obeys the law still cannot be true, or nothing."""
    times = (segment.boot.start_ns, segment.wall_start_ns, segment.window_start_ns)
    if segment.window_length_ns <= 0 or min(times) < 0 or max(*times, segment.boot.end_ns) > _FURTHEST_NS:
        return "names a time that cannot be"
    if _window_end_ns(segment) > _FURTHEST_NS:
        return "names a window that cannot be"
    keys = [(record.workload, record.session_id) for record in records]
    return "names one workload twice" if len(set(keys)) < len(keys) else ""


def _expect_from(host: HostState, window_start_ns: int) -> None:
    """Once seen, a host is expected from its first window on."""
    known = host.first_window_ns
    host.first_window_ns = window_start_ns if known is None else min(known, window_start_ns)


def _window_end_ns(segment: Segment) -> int:
    return segment.window_start_ns + segment.window_length_ns


def _bounded(instant_ns: int) -> int:
    return max(0, min(instant_ns, _FURTHEST_NS))
