"""What the ledger makes of an offered frame: exactly once, decided from its own cursor and nothing else.

=====================  =========================  ============================================
the frame's seq        its hashes                 verdict
=====================  =========================  ============================================
at or below the cursor the stored hash            REPLAY: acknowledged again and counted
at or below the cursor another hash               FORK
cursor + 1             follows the stored head    COMMITTED
cursor + 1             follows something else     FORK
above cursor + 1       any                        OUT_OF_ORDER: never stored
=====================  =========================  ============================================

No cache, no time window: what a stream may say next follows from what is committed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


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
    """How far a stream is committed, and the hash of the frame there (the genesis hash at 0)."""

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


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of an offer; ``through_seq`` is the stream's cursor after it, durable when this is seen."""

    verdict: Verdict
    seq: int
    through_seq: int
    rejected: str = ""
    """Why the frame at ``seq`` is a tombstone, if it is one, whether now or since long."""


def decide(cursor: Cursor, offer: Offer, stored_hash: Callable[[int], bytes | None]) -> Verdict:
    """The table above. ``stored_hash`` is asked only for frames at or below the cursor."""
    if offer.seq <= cursor.committed_seq:
        return Verdict.REPLAY if stored_hash(offer.seq) == offer.hash else Verdict.FORK
    if offer.seq > cursor.committed_seq + 1:
        return Verdict.OUT_OF_ORDER
    follows = offer.previous_hash is None or offer.previous_hash == cursor.head_hash
    return Verdict.COMMITTED if follows else Verdict.FORK
