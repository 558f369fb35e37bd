"""What the ledger makes of an offered frame: exactly once, decided from its own cursor and nothing else.

A frame speaks for the range from ``first`` to ``last``: both are its seq, unless it is a Skip, which stands
for frames that its host has no more. The chain goes on from the hash of the last frame of the range.

==========================================  ==================================  ==============================
the range                                   its hashes                          verdict
==========================================  ==================================  ==============================
last at or below the cursor, stored there   the stored one, or the chain's      REPLAY: acknowledged again
last at or below the cursor, stored there   another                             FORK
last at or below the cursor, in a Skip      any: nobody knows better            REPLAY
first = cursor + 1                          follows the stored head             COMMITTED
first = cursor + 1                          follows something else              FORK
first at or below the cursor < last         follows what is stored before it    COMMITTED: the cursor moves to last
first at or below the cursor < last         follows something else, or a place  FORK
                                            that nobody knows: inside a Skip
first above cursor + 1                      any                                 OUT_OF_ORDER: never stored
last beyond LARGEST_SEQ                     any                                 FORK: no place is left in here
==========================================  ==================================  ==============================

No cache, no time window: what a stream may say next follows from what is committed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from .skip import Skip

LARGEST_SEQ: Final = 2**63 - 1
"""What SQLite's integers hold. No frame beyond it is committed, also none behind a Skip that leads to it."""


class EntryKind(IntEnum):
    """Of an entry in the ledger's log."""

    FRAME = 0
    TOMBSTONE = 1
    """A frame that could never be taken; its bytes are at the host."""
    SKIP = 2
    """Stands for frames that the host has no more."""


class Verdict(StrEnum):
    COMMITTED = "committed"
    REPLAY = "replay"
    OUT_OF_ORDER = "out_of_order"
    FORK = "fork"


@dataclass(frozen=True, slots=True)
class StreamId:
    """One log of one host: ``epoch`` is new whenever the host's log was made anew."""

    host_id: str
    epoch: bytes


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a stream is committed, and the hash that the next frame must name (the genesis hash at 0)."""

    committed_seq: int
    head_hash: bytes


@dataclass(frozen=True, slots=True)
class Offer:
    """A frame as received, with what its header says.

    ``rejected`` is why it can never be taken, if so: then its place is
    committed as a tombstone and its bytes are not kept. ``previous_hash`` None:
    the header could not be read, and the frame's place is where it was said.
    """

    stream: StreamId
    seq: int
    previous_hash: bytes | None
    hash: bytes
    body: bytes
    rejected: str = ""
    skip: Skip | None = None

    @property
    def kind(self) -> EntryKind:
        if self.rejected:
            return EntryKind.TOMBSTONE
        return EntryKind.SKIP if self.skip else EntryKind.FRAME

    @property
    def first_seq(self) -> int:
        """Of the range it speaks for."""
        return self.skip.first_seq if self.skip else self.seq

    @property
    def chain_hash(self) -> bytes:
        """Of the last frame of its range."""
        return self.skip.last_hash if self.skip else self.hash


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry's own hash, and that of the last frame of its range."""

    hash: bytes
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of an offer; ``through_seq`` is the stream's cursor after it, durable when this is seen."""

    verdict: Verdict
    seq: int
    through_seq: int
    rejected: str = ""
    """Why the frame at ``seq`` is a tombstone, if it is one, whether now or since long."""


def decide(cursor: Cursor, offer: Offer, stored: Callable[[int], Stored | None]) -> Verdict:
    """The table above. ``stored`` is asked for places from 0, the genesis, to the cursor; None: inside a Skip."""
    if offer.seq <= cursor.committed_seq:
        there = stored(offer.seq)
        same = there is None or offer.hash == there.hash or offer.chain_hash == there.chain_hash
        return Verdict.REPLAY if same else Verdict.FORK
    if offer.first_seq > cursor.committed_seq + 1:
        return Verdict.OUT_OF_ORDER
    if offer.seq > LARGEST_SEQ:
        return Verdict.FORK  # only a new epoch has room for it
    if offer.first_seq <= cursor.committed_seq:
        # A host only ever joins its Skips into larger ones, so its chain has been here at this place before.
        before = stored(offer.first_seq - 1)
        follows = before is not None and offer.previous_hash == before.chain_hash
    else:
        follows = offer.previous_hash is None or offer.previous_hash == cursor.head_hash
    return Verdict.COMMITTED if follows else Verdict.FORK
