"""What a damaged log has lost is declared, to the ns, before anything else is said in its new epoch."""

import logging
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from ..model.checkpoint import BadCheckpoint, load
from ..model.meter import Meter
from ..model.reading import GapReason
from ..model.refused import Refused
from ..model.untold import Untold
from ..proto.convert import decode_batch
from ..storage.checkpoint import DamagedCheckpoint, decode
from ..storage.frame import read_frame
from ..storage.wal import Damage, Entry, Log, Mend
from .entries import entries_of

log = logging.getLogger(__name__)

_NEAR: Final = 5_000
"""Frames before and behind a lost one that are looked into: more than any device's longest window has ticks."""

_AT_ONCE, _AT_ONCE_BYTES = 64, 1 << 20


def amends(host_id: str) -> Mend:
    """For ``Log.open``."""

    def say(damage: Damage) -> Sequence[Entry]:
        lost = damage.lost
        untold = Untold(tuple(lost))
        for seq, payload in damage.payloads(lambda seq: _is_near(seq, lost)):
            _add(untold, seq, payload)
        meter, undeclared = _held_open(damage.checkpoint)
        if meter is not None:
            untold.add_open(meter)
        refused = untold.refused(undeclared)
        for (boot_id, device, _), gaps in refused.stretches.items():
            lost_ns = sum(gap.segment.boot.length_ns for gap in gaps)
            log.error(
                "%s, boot %s: %d ns are lost with the damage and become a gap (log_damaged)", device, boot_id, lost_ns
            )
        return [entry for batch in refused.batches(host_id) for entry in entries_of(batch)]

    return say


def untold_since(frames: Log, reason: GapReason) -> Untold:
    """How far the newest frames tell, where no checkpoint does: what the next reading leaves between is to be told.

    Raises LogBroken.
    """
    stat = frames.stat()
    untold = Untold(((stat.last_seq + 1, stat.last_seq + 1),), reason)
    seq = max(stat.first_seq, stat.last_seq - _NEAR)
    while 0 < seq <= stat.last_seq:
        for frame in map(read_frame, frames.read(seq, _AT_ONCE, _AT_ONCE_BYTES)):
            seq = frame.seq + 1
            if frame.skip is None:
                _add(untold, frame.seq, frame.payload())
    return untold


def _add(untold: Untold, seq: int, payload: bytes) -> None:
    try:
        untold.add(seq, decode_batch(payload))
    except ValueError as error:
        log.error("frame %d is whole, and no batch: %s", seq, error)


def _is_near(seq: int, lost: Sequence[tuple[int, int]]) -> bool:
    behind = bisect_right(lost, (seq, seq))
    return any(first - _NEAR <= seq <= last + _NEAR for first, last in lost[max(behind - 1, 0) : behind + 1])


def _held_open(raw: bytes | None) -> tuple[Meter | None, Refused]:
    """The meter, and what it has yet to declare, as the checkpoint has them that goes with the newest frame."""
    if raw is None:
        log.error(
            "what was open when the log was damaged is lost: time behind the newest frame left cannot be declared"
        )
        return None, Refused()
    try:
        return load(decode(raw))
    except (DamagedCheckpoint, BadCheckpoint) as error:
        log.error("what was open when the log was damaged is lost: %s", error)
        return None, Refused()
