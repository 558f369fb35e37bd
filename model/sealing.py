"""What a seal covers, as leaves of a Merkle tree, and what is signed of it. docs/formats.md has the bytes.

A leaf is the canonical encoding of (kind, key, revision, digest). It holds no place in the log: a ledger that was
restored, and took its hosts' frames in another order, has the same leaves.
"""

from dataclasses import astuple, dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from .decision_fields import parts_of
from .decisions import Adjusted, ExclusionSet, GapDeclared, Overlay, PeriodSealed
from .identity import encode

_VERSION: Final = 1


class LeafKind(StrEnum):
    """Their encodings sort in this order, shorter names first."""

    GAP = "gap"
    DEVICE = "device"
    RECORD = "record"
    OVERLAY = "overlay"
    EXCLUSION = "exclusion"
    ADJUSTMENT = "adjustment"


@dataclass(frozen=True, slots=True)
class Leaf:
    """``key`` names what it is about: a usage key, a segment key, an id; ``digest`` is of its content, 16 bytes."""

    kind: LeafKind
    key: str | bytes
    revision: int
    digest: bytes

    def to_bytes(self) -> bytes:
        return encode(self.kind.value, self.key, self.revision, self.digest)


def record_leaf(usage_key: bytes, revision: int, digest: bytes) -> bytes:
    """``digest``: as its host sent it; what was decided of it later is an overlay's leaf."""
    return Leaf(LeafKind.RECORD, usage_key, revision, digest).to_bytes()


def row_leaf(segment_key: bytes, revision: int, digest: bytes) -> bytes:
    return Leaf(LeafKind.DEVICE, segment_key, revision, digest).to_bytes()


def decision_leaf(what: Overlay | ExclusionSet | GapDeclared | Adjusted) -> bytes:
    """By its fields alone: who decided it when stands in the ledger's own stream."""
    if isinstance(what, Overlay):
        return Leaf(LeafKind.OVERLAY, what.usage_key, what.revision, fields_digest(what)).to_bytes()
    if isinstance(what, GapDeclared):
        return Leaf(LeafKind.GAP, what.host_id, 0, fields_digest(what)).to_bytes()
    kind = LeafKind.EXCLUSION if isinstance(what, ExclusionSet) else LeafKind.ADJUSTMENT
    return Leaf(kind, what.id, 0, fields_digest(what)).to_bytes()


def fields_digest(what: Any) -> bytes:
    """blake2b-128 over the fields of a decision in their order; a list is its length and then its parts."""
    flat: list[str | int | bytes | None] = []
    for value in astuple(what):
        parts = parts_of(value)
        flat += [value] if parts is None else [len(parts), *parts]
    return blake2b(encode(_VERSION, *flat), digest_size=16).digest()


def seal_message(ledger: bytes, seal: PeriodSealed) -> bytes:
    """What is signed of a seal. ``ledger``: the epoch of the ledger's own stream, which names the ledger."""
    return encode(
        _VERSION, "period seal", ledger, seal.from_ns, seal.to_ns, seal.as_of, seal.root, seal.leaves, seal.key_id
    )
