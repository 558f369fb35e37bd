"""When the daemon signs its chain, and what it says of its keys: some 80 µs a minute, on the writer's thread."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ..model.key_ring import checkpoint_message
from ..model.signing import SignedCheckpoint, SigningKey
from ..model.usage import Batch
from ..plugins.signing_key import BadSigningKey, KeyFile, load_key_file
from ..storage.wal import Log, LogBroken

log = logging.getLogger(__name__)

SIGN_EVERY_S: Final = 60.0
INTRODUCE_EVERY_S: Final = 3_600.0
"""So that a log, or a ledger, that holds a day of frames also holds the keys they are signed with."""

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Signed:
    """What the next frame is to carry."""

    epoch: bytes
    keys: tuple[SigningKey, ...] = ()
    checkpoints: tuple[SignedCheckpoint, ...] = ()

    def on(self, batch: Batch) -> Batch:
        return replace(batch, keys=self.keys, checkpoints=self.checkpoints)


@dataclass(slots=True)
class Signing:
    """Signs the newest frame when asked. ``sign`` belongs on the log's writer thread, when all in the log is sure.

    The file is looked at again each time: a new key in it is taken up, and what cannot be used leaves the old one.
    """

    path: Path
    log: Log
    host_id: str
    file: KeyFile
    _stamp: _Stamp | None = None
    _signed: tuple[bytes, int] | None = field(default=None, init=False)
    """Epoch and seq of the newest checkpoint that is in the log."""
    _signed_at_s: float = field(default=-SIGN_EVERY_S, init=False)
    _introduced: tuple[bytes, bytes] | None = field(default=None, init=False)
    """The key, and the epoch in which it was made known."""
    _introduced_at_s: float = field(default=0.0, init=False)

    @classmethod
    def open(cls, path: Path, log: Log, host_id: str) -> "Signing":
        """Raises BadSigningKey."""
        stamp = _stamp_of(path)
        return cls(path, log, host_id, load_key_file(path), stamp)

    def describe(self) -> dict[str, Any]:
        """The ``signing`` object of ``gputally status --json``."""
        return {"key_id": self.file.own.key_id.hex(), "signed_seq": self._signed[1] if self._signed else None}

    def due(self, now_s: float) -> bool:
        return now_s - self._signed_at_s >= SIGN_EVERY_S

    def sign(self, now_s: float) -> Signed | None:
        """The newest frame's checkpoint, with the keys where they must be told; None if there is nothing to say.

        Raises LogBroken.
        """
        self._look_again()
        self._signed_at_s = now_s
        stat = self.log.stat()
        if self._signed == (stat.epoch, stat.last_seq):
            return None
        digest = self.log.head_hash(stat.last_seq) if stat.last_seq else None
        checkpoints = () if digest is None else (self._checkpoint(stat.epoch, stat.last_seq, digest),)
        return Signed(stat.epoch, self._keys(stat.epoch, now_s), checkpoints)

    def kept(self, signed: Signed, now_s: float) -> None:
        """What ``sign`` gave is in the log."""
        if signed.keys:
            self._introduced, self._introduced_at_s = (signed.keys[-1].key_id, signed.epoch), now_s
        for checkpoint in signed.checkpoints:
            self._signed = checkpoint.epoch, checkpoint.seq

    def _checkpoint(self, epoch: bytes, seq: int, digest: bytes) -> SignedCheckpoint:
        signature = self.file.secret.sign(checkpoint_message(self.host_id, epoch, seq, digest))
        return SignedCheckpoint(self.file.own.key_id, epoch, seq, digest, signature)

    def _keys(self, epoch: bytes, now_s: float) -> tuple[SigningKey, ...]:
        known = self._introduced == (self.file.own.key_id, epoch)
        return () if known and now_s - self._introduced_at_s < INTRODUCE_EVERY_S else self.file.introductions

    def _look_again(self) -> None:
        stamp = _stamp_of(self.path)
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.file = load_key_file(self.path)
        except BadSigningKey as error:
            log.error("log.signing_key: %s; the key before it goes on signing", error)
        else:
            log.info("the chain is signed with key %s from here on", self.file.own.key_id.hex())


def try_to_sign(signing: Signing, now_s: float) -> Signed | None:
    """As ``sign``; a log that cannot be read just now is signed later."""
    try:
        return signing.sign(now_s)
    except LogBroken as broken:
        log.debug("not signed: %s", broken)
        return None


def _stamp_of(path: Path) -> _Stamp | None:
    """None: there is no file; whoever wants one says so."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
