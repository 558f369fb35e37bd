"""What a host signs of its chain: the keys it signs with, and its word on a place of the chain.

A checkpoint is the host's word that the frame at a place of its chain has this hash, and so, through the chain,
all before it. Keys are made known in the chain itself. Who reads them is key_ring.py; docs/formats.md has the bytes.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

KEY_ID_BYTES: Final = 8
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """The frame at ``seq`` of ``epoch`` has this hash, says the holder of the key."""

    key_id: bytes
    epoch: bytes
    seq: int
    hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with which checkpoints are signed from here on. ``signed_by`` is empty for a host's first key."""

    public_key: bytes
    signed_by: bytes
    """The id of the key before it, whose holder made ``signature``; of the first key: its own."""
    signature: bytes

    @property
    def key_id(self) -> bytes:
        return key_id_of(self.public_key)


def key_id_of(public_key: bytes) -> bytes:
    """The first 8 bytes of sha256(public key)."""
    return sha256(public_key).digest()[:KEY_ID_BYTES]
