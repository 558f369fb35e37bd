"""What an audit says of a stream."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place of a stream that cannot be what its host wrote; nothing behind it was looked at."""

    seq: int
    log_id: int
    """Of the row in the ledger's table ``log``; 0: there is none."""
    what: str


@dataclass(frozen=True, slots=True)
class Absence:
    """Frames that are declared not to be there. A hash stands for them, so the chain does not tell who declared it."""

    first_seq: int
    last_seq: int
    kind: str
    """tombstone: the collector could not take it; skip: the host has them no more."""
    reason: str


@dataclass(frozen=True, slots=True)
class CutEpoch:
    """An epoch that ended, says its host, with these frames acknowledged, and they are not there."""

    epoch: bytes
    first_seq: int
    last_seq: int
    is_there: bool
    """False: nothing at all of that epoch is in the ledger."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What one stream came to."""

    host_id: str
    epoch: bytes
    last_seq: int
    head_hash: bytes
    """What a frame behind ``last_seq`` must name: with it a later audit can say that nothing was taken away since."""
    frames: int
    tombstones: int
    skips: int
    skipped_frames: int
    checkpoints: int
    """That were found right: by a pinned key or one it led to, where the host has one pinned."""
    unchecked: int
    """Checkpoints that nothing here can tell: of frames that are no more, or by a key that is not known."""
    signed_through: int
    """Everything through this seq is as the host wrote it, as far as its key is trusted; 0: nothing is signed."""
    key_id: bytes
    """Of the key that signs now; empty: none."""
    pinned: bool
    broken: Broken | None
    absences: tuple[Absence, ...] = ()
    """The first hundred of the tombstones and Skips."""
    cut: tuple[CutEpoch, ...] = ()
    """The first hundred of the epochs that this one says it continues, and that do not reach as far."""

    @property
    def unsigned_tail(self) -> int:
        return self.last_seq - self.signed_through
