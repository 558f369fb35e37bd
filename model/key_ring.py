"""What a signature in a host's chain is worth to whoever reads the chain.

A key speaks for the host from its introduction on, and the next one is introduced by the signature of the one
before. docs/signing.md says what this proves and what not. Nothing here computes a signature: whoever asks hands in
how one is checked.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from .identity import encode
from .signing import PUBLIC_KEY_BYTES, SignedCheckpoint, SigningKey

MOST_KEYS: Final = 1_000
"""Of one host, as far as a reader follows: with a new key each day they last for almost three years."""
_VERSION: Final = 1

Check = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature): whether the signature is right. RFC 8032, Ed25519."""


class BadSignature(ValueError):
    """What the chain says of its keys and checkpoints cannot be the host's word. The message says which and why."""


def checkpoint_message(host_id: str, epoch: bytes, seq: int, digest: bytes) -> bytes:
    """What is signed of a checkpoint."""
    return encode(_VERSION, "checkpoint", host_id, epoch, seq, digest)


def key_message(public_key: bytes, signed_by: bytes) -> bytes:
    """What is signed of a key."""
    return encode(_VERSION, "signing key", public_key, signed_by)


@dataclass(slots=True)
class KeyRing:
    """The keys of one host as its chain introduces them, one after the other.

    ``pinned`` are public keys that are trusted because somebody brought them by another way. Without any the first
    key that is seen is believed: whoever could have exchanged the whole chain could have exchanged that one too.
    """

    host_id: str
    check: Check
    pinned: frozenset[bytes] = frozenset()
    complete: bool = True
    """Whether every frame so far was there to be read: else a key may have been introduced in one that was not."""
    current: bytes = b""
    """The id of the key that signs now; empty: none was introduced yet."""
    _keys: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    _trusted: set[bytes] = field(default_factory=set[bytes])

    @property
    def introduced(self) -> int:
        """How many keys the host has had."""
        return len(self._keys)

    @property
    def is_pinned(self) -> bool:
        """Whether the key that signs now is pinned, or was introduced by one that leads back to a pinned one."""
        return self.current in self._trusted

    def introduce(self, keys: Iterable[SigningKey]) -> None:
        """Keys as a frame introduces them, in order; one that is known changes nothing. Raises BadSignature."""
        for key in keys:
            self.complete = True
            if len(key.public_key) != PUBLIC_KEY_BYTES:
                raise BadSignature(f"a signing key of {len(key.public_key)} bytes, not {PUBLIC_KEY_BYTES}")
            if self._keys.get(key.key_id) != key.public_key:
                self._add(key)

    def accept(self, epoch: bytes, checkpoint: SignedCheckpoint) -> bool:
        """Whether the checkpoint counts, read in a frame of ``epoch``. Raises BadSignature if it is forged.

        False: its key is not known here, and may have been introduced in a frame that is no more.
        """
        said_again = checkpoint.epoch != epoch
        public_key = self._keys.get(checkpoint.key_id)
        if public_key is None:
            if self.complete and not said_again:
                raise BadSignature(f"signed by key {checkpoint.key_id.hex()}, which was never introduced")
            return False
        # Frames that went on in a new epoch bring checkpoints of the old one, perhaps by a key that has retired since.
        if checkpoint.key_id != self.current and not said_again:
            raise BadSignature(f"signed by key {checkpoint.key_id.hex()}, whose place {self.current.hex()} has taken")
        said = checkpoint_message(self.host_id, checkpoint.epoch, checkpoint.seq, checkpoint.hash)
        if not self.check(public_key, said, checkpoint.signature):
            raise BadSignature(f"its signature is not that of key {checkpoint.key_id.hex()}")
        return True

    def _add(self, key: SigningKey) -> None:
        if len(self._keys) >= MOST_KEYS or key.key_id in self._keys:
            raise BadSignature(f"key {key.key_id.hex()} is one too many, or has the name of another")
        self._check_introduction(key)
        if key.public_key in self.pinned or key.signed_by in self._trusted:
            self._trusted.add(key.key_id)
        self._keys[key.key_id] = key.public_key
        self.current = key.key_id

    def _check_introduction(self, key: SigningKey) -> None:
        """By its forerunner; else it must be pinned, or the first that is seen."""
        by_pinned = key.public_key in self.pinned
        signer = self._keys.get(key.signed_by) if key.signed_by else key.public_key
        if not key.signed_by and self._keys and not by_pinned:
            raise BadSignature(f"key {key.key_id.hex()} calls itself the first, after {self.current.hex()}")
        if key.signed_by and key.signed_by != self.current and self._keys and not by_pinned:
            raise BadSignature(f"key {key.key_id.hex()} was not introduced by {self.current.hex()}, the one before it")
        if signer is not None and not self.check(signer, key_message(key.public_key, key.signed_by), key.signature):
            raise BadSignature(f"key {key.key_id.hex()}: the signature that introduces it is forged")
