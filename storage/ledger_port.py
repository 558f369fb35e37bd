"""What a ledger's log can do, whichever database keeps it. The truth about its verdicts is in ledger_rules.py.

Implementations: ``Ledger`` and ``LedgerReader`` on SQLite. Every one passes tests/storage/test_ledger_log.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .ledger_rules import Cursor, EntryKind, Offer, Ruling, StreamId


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. ``body`` is the frame as received; of a tombstone, why it was rejected.

    ``seq`` of a Skip is the last that it stands for. ``log_id`` starts at 1 and has no gaps.
    """

    log_id: int
    stream: StreamId
    seq: int
    kind: EntryKind
    hash: bytes
    received_ns: int
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where one stream stands."""

    stream: StreamId
    committed_seq: int
    head_hash: bytes
    tombstones: int
    """Frames that were rejected: their content is at the host, in its table of dead letters."""
    replays: int
    """Frames that came again and were acknowledged again."""
    skipped: int
    """Frames that a Skip stands for: the host has them no more."""
    last_received_ns: int


class LedgerLog(Protocol):
    """The writing end: one in the world for each ledger (``LedgerLease``), used by one thread at a time."""

    @property
    def ledger_id(self) -> str:
        """Made with the ledger, kept by a backup of it: hosts know by it that they still talk to the same one."""
        ...

    def commit(self, offers: Sequence[Offer], now_ns: int) -> list[Ruling]:
        """Rules on each offer in order and makes all that is new durable in one transaction.

        When it returns, what the rulings say is on the disk. Raises LedgerBroken: then
        the outcome is unknown, nothing may be acknowledged, and ``reopen`` comes next.
        """
        ...

    def cursor(self, stream: StreamId) -> Cursor:
        """Where the stream stands; for one never seen, 0 and the genesis hash. Raises LedgerBroken."""
        ...

    def tombstones(self, stream: StreamId, from_seq: int, most: int = 100) -> list[tuple[int, str]]:
        """(seq, reason) of frames of this stream that were rejected, the oldest first, from ``from_seq`` on."""
        ...

    def reopen(self) -> None:
        """After an error: forget what is known, so that the next commit reads what really is there."""
        ...

    def close(self) -> None: ...


class LedgerReading(Protocol):
    """The reading end: any number beside the writer, each for one thread at a time. Raises LedgerBroken."""

    def last_log_id(self) -> int:
        """0: the log is empty."""
        ...

    def read(self, after_log_id: int, most: int, most_bytes: int) -> list[Entry]:
        """Those after ``after_log_id`` in order: at most ``most``, and the first beyond ``most_bytes`` ends it."""
        ...

    def held_through(self, stream: StreamId, before_log_id: int) -> int:
        """Where the stream's cursor was when the entry ``before_log_id`` was committed; 0: nothing was there."""
        ...

    def streams(self, host_ids: list[str], most: int = 1_000) -> list[StreamState]:
        """The streams of these hosts, newest first."""
        ...

    def close(self) -> None: ...


class LedgerLease(Protocol):
    """Held by the one who writes; on SQLite a lock on the folder, which the kernel lets go of."""

    def release(self) -> None: ...
