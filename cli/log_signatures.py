"""The signatures in a host's log: `gputally log verify`. The chain itself was checked before."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..model.key_ring import BadSignature, Check, KeyRing
from ..model.signing import SignedCheckpoint
from ..model.usage import Batch
from ..proto.convert import decode_signing
from ..storage.frame import Frame
from ..storage.wal_offline import held_frames

_REMEMBERED: Final = 10_000
"""Hashes of frames for checkpoints to name: more than a day of them. A checkpoint of an older one cannot be told."""


@dataclass(slots=True)
class LogSignatures:
    """What the frames of one log say of each other."""

    keys: KeyRing
    signed_through: int = 0
    unchecked: int = 0
    last_seq: int = 0
    _hashes: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def hear(self, frame: Frame) -> Iterator[str]:
        """What is wrong with the signatures in this frame, the next of the chain."""
        batch = _said_in(frame)
        self.keys.complete = self.keys.complete and batch is not None
        try:
            if batch is not None:
                self.keys.introduce(batch.keys)
                for checkpoint in batch.checkpoints:
                    self._judge(frame, checkpoint)
        except BadSignature as error:
            yield f"frame {frame.seq}: {error}"
        self._hashes[frame.seq] = frame.chain_hash
        self._hashes.pop(frame.seq - _REMEMBERED, None)
        self.last_seq = frame.seq

    def __str__(self) -> str:
        doubt = f"; {self.unchecked} signatures cannot be told" if self.unchecked else ""
        if not self.signed_through:
            return f"nothing in it is signed{doubt}"
        tail = self.last_seq - self.signed_through
        return f"signed through {self.signed_through} by key {self.keys.current.hex()}, not the last {tail}{doubt}"

    def _judge(self, frame: Frame, checkpoint: SignedCheckpoint) -> None:
        known = self.keys.accept(frame.epoch, checkpoint)
        here = self._hashes.get(checkpoint.seq)
        if not known or here is None or checkpoint.epoch != frame.epoch:
            self.unchecked += 1
        elif here != checkpoint.hash:
            raise BadSignature(f"signs another frame {checkpoint.seq} than is there")
        else:
            self.signed_through = max(self.signed_through, checkpoint.seq)


def _said_in(frame: Frame) -> Batch | None:
    """None of a Skip, and of a payload that is no batch: the collector refuses those."""
    try:
        return None if frame.skip else decode_signing(frame.payload())
    except ValueError:
        return None


def check_signatures(folder: Path, check: Check) -> tuple[list[str], str]:
    """(what is wrong, one sentence each; how far the log is signed). Raises NotALog."""
    problems: list[str] = []
    found: LogSignatures | None = None
    for host_id, frame in held_frames(folder):
        if found is None:
            found = LogSignatures(KeyRing(host_id, check, complete=frame.first_seq == 1))
        problems += found.hear(frame)
    return problems, str(found or "nothing in it is signed")
