"""What a usage store is: the port behind which the projection stands, and the nouns that pass through it.

A store is derived from the log: it may be thrown away and folded again. One writer changes it, in
transactions that move its position in the log together with what the entries up to there say;
any number of readers ask snapshots. Every store answers with identical integers: tests/collector/test_usage_store.py
runs the same folding and the same questions against each, and against a plain one in Python.

The decisions (new, repeated, revised, overlapping) are not a store's: ``collector.folding`` makes them.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from ..model.decisions import Decided, Decision
from ..model.identity import record_digest, usage_key
from ..model.interval import Interval
from ..model.usage import DeviceWindow, Segment, UsageRecord
from ..model.workload import Owner
from .usage_query import Completeness, Scope, UsageQuery, UsageSums, WindowLength

Place = tuple[int, int]
"""Of a segment: the log entry it came in, and its number there."""
RecordPlace = tuple[int, int, int]
"""Where a record stands in the log: log id, number of its segment there, its number in the segment."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a segment came from: the log entry, its number there, and whose it is."""

    log_id: int
    segment_no: int
    host_id: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A conservation row that is already there and in force."""

    log_id: int
    segment_no: int
    interval: Interval
    revision: int
    window_s: int
    """When its window starts: s since 1970."""

    @property
    def place(self) -> Place:
        return self.log_id, self.segment_no


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A usage record in force, as its host said it, and what is not in it but identifies it."""

    place: RecordPlace
    host_id: str
    boot_id: str
    record: UsageRecord
    owner: Owner
    """Whose it is: the host's word, or that of a correction."""

    @property
    def usage_key(self) -> bytes:
        return usage_key(self.host_id, self.boot_id, self.record)

    @property
    def digest(self) -> bytes:
        """Computed from what is stored: were anything lost on the way, it would not be the sender's."""
        return record_digest(self.record)


@dataclass(frozen=True, slots=True)
class PutAside:
    """What is kept out of every sum, and named. ``to_ns`` None: not known until the host's next watermark."""

    log_id: int
    host_id: str
    device_id: str
    from_ns: int
    to_ns: int | None
    records: int
    allocated_ns: int
    what: str


@dataclass(frozen=True, slots=True)
class LostFrames:
    """Frames of an ended epoch that never came and will not; ``log_id`` is the entry that tells so."""

    log_id: int
    host_id: str
    epoch: bytes
    first_seq: int
    last_seq: int


@dataclass(slots=True)
class HostState:
    """What is known of one host; the columns of ``host`` in their order."""

    host_id: str
    first_log_id: int
    last_log_id: int = 0
    last_received_ns: int = 0
    first_window_ns: int | None = None
    watermark_ns: int | None = None
    frames: int = 0
    records: int = 0
    duplicates: int = 0
    superseded: int = 0
    stale: int = 0
    quarantined: int = 0
    rejected_frames: int = 0
    forks: int = 0
    """Epochs that were begun because of one."""
    late: int = 0
    """Segments that came for a sealed period."""


@dataclass(frozen=True, slots=True)
class Covered:
    """Which time of one device in one boot has conservation rows: disjoint stretches of CLOCK_BOOTTIME, in order."""

    host_id: str
    boot_id: str
    device_id: str
    generation: int
    stretches: tuple[Interval, ...]


class Wanted(Protocol):
    """What names a segment within a host and a boot."""

    @property
    def device_id(self) -> str: ...

    @property
    def generation(self) -> int: ...

    @property
    def boot(self) -> Interval: ...


class UsageAnswers(Protocol):
    """The reading end: a store as it was at one moment, for one thread."""

    @property
    def position(self) -> int:
        """The log id through which it is folded: the newest ``as_of`` there is."""
        ...

    def sum_usage(self, query: UsageQuery, sku_of: Callable[[str], str]) -> UsageSums:
        """The sums of ``query``; ``sku_of`` names the SKU of a GPU model. Raises TooManyGroups."""
        ...

    def completeness(self, scope: Scope) -> Completeness: ...

    def window_lengths(self, scope: Scope) -> list[WindowLength]:
        """The lengths of all windows that overlap the span, and whether the span cuts any of them."""
        ...

    def records(self, scope: Scope, after: RecordPlace, limit: int, host_id: str | None = None) -> list[StoredRecord]:
        """Records in force behind ``after``, in the order of the log: what exports and seals are made of."""
        ...


class UsageStore(Protocol):
    """The changing end, for one thread. Every method may raise LedgerBroken."""

    @property
    def position(self) -> int:
        """How far it has come in the log; readable from any thread."""
        ...

    def reopen(self, last_log_id: int) -> None:
        """After an error: from what was really committed, or anew if that is beyond the log's own end."""
        ...

    def close(self) -> None: ...

    def transaction(self, through_log_id: int) -> AbstractContextManager[None]:
        """All changes inside become true together with the position ``through_log_id``, or none does."""
        ...

    def add(self, origin: Origin, row: DeviceWindow, records: Sequence[UsageRecord]) -> None:
        """A segment, which overlaps none in force but the one that ``supersede`` names."""
        ...

    def supersede(self, old: StoredRow, by_log_id: int) -> None: ...

    def put_aside(self, what: PutAside) -> None: ...

    def add_late(
        self,
        origin: Origin,
        row: DeviceWindow,
        records: Sequence[UsageRecord],
        old: StoredRow | None,
        booked_ns: int,
        received_ns: int,
    ) -> None:
        """A segment of a sealed period: what it changes against ``old`` is booked at ``booked_ns``, once settled."""
        ...

    def settle_late(self) -> None:
        """Books what the late segments since the last time change; at the end of each entry."""
        ...

    def sealed(self) -> list[Interval]:
        """The sealed periods, in order of time."""
        ...

    def is_touched(self, span: Interval, behind_log_id: int) -> bool:
        """Whether an entry behind that one says anything of windows that start in ``span``."""
        ...

    def replaced_by(self, what: Decision) -> Decision | None:
        """What is in force under the key of ``what``, if anything is."""
        ...

    def lose(self, lost: LostFrames) -> None: ...

    def has_lost(self, host_id: str, epoch: bytes) -> bool:
        """Whether it is known already that frames of this ended epoch are lost."""
        ...

    def decide(self, log_id: int, decided: Decided) -> None:
        """What somebody decided is in force from here on."""
        ...

    def carry_corrections(self, origin: Origin, segment: Segment, records: Sequence[UsageRecord]) -> None:
        """What was decided of the records of a segment it is also of those of its new revision."""
        ...

    def note(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Rows of what is no usage: ``projection_other_rows`` says which tables there are."""
        ...

    def advance(self, log_id: int, host_id: str, complete_through_ns: int, received_ns: int) -> None:
        """A host's new watermark."""
        ...

    def close_open_quarantine(self, host_id: str, to_ns: int) -> None:
        """What was put aside of this host, and nobody knew until when: it ended by then."""
        ...

    def flush(self) -> None:
        """What was added is found by ``stored_rows`` from here on."""
        ...

    def flush_if_large(self) -> None:
        """Bounds what is held in memory; between two entries."""
        ...

    def stored_rows(self, host_id: str, boot_id: str, wanted: Sequence[Wanted]) -> list[list[StoredRow]]:
        """For each wanted segment the conservation rows that overlap it, in order; at most two of them.

        Those in force; of a sealed period the last that came.
        """
        ...

    def stored_digests(self, stored: Sequence[StoredRow]) -> dict[Place, bytes]:
        """The digest of each of these rows, by place: made from all that is stored of it."""
        ...

    def hosts(self) -> dict[str, HostState]: ...

    def save_hosts(self, hosts: Iterable[HostState]) -> None:
        """Writes the state of these hosts, whether known before or not."""
        ...

    def covered(self, host_id: str, boot_id: str) -> list[Covered]:
        """Every device of this host and boot that has rows."""
        ...

    def save_covered(self, covered: list[Covered]) -> None:
        """Replaces what was known to be covered of these devices."""
        ...

    def open_losses(self) -> set[str]:
        """Hosts with a loss whose end is not known yet."""
        ...

    def refresh(self, settled_ns: int) -> int:
        """Makes a bounded number of rollups of buckets that ended before ``settled_ns``; how many.

        When this is called decides how fast answers are, never what they are.
        """
        ...
