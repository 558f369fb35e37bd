"""What a damaged log has lost is declared, to the ns, before anything else is said in its new epoch."""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ..model.checkpoint import BadCheckpoint, load
from ..model.meter import Meter
from ..model.reading import GapReason
from ..model.refused import Refused
from ..model.untold import Untold
from ..proto.convert import decode_batch
from ..storage.checkpoint import DamagedCheckpoint, decode
from ..storage.frame import Frame, read_frame
from ..storage.wal import Damage, Entry, Log, LogStat, Mend
from .entries import entries_of

log = logging.getLogger(__name__)

_NEAR: Final = 5_000
"""Frames before and behind a lost one that are looked into: more than any device's longest window has ticks."""

_AT_ONCE, _AT_ONCE_BYTES = 64, 1 << 20


def amends(host_id: str) -> Mend:
    """For ``Log.open``."""

    def say(damage: Damage) -> Sequence[Entry]:
        lost = damage.lost
        meter, undeclared = _held_open(damage.checkpoint)
        if not lost and meter is not None:
            return ()
        untold = Untold(tuple(lost))
        # Else the checkpoint knows what of the dropped time is not told yet.
        dropped = _add_skips(untold, damage.skips()) if meter is None else []
        near = sorted([*lost, *dropped])
        for seq, payload in damage.payloads(lambda seq: _is_near(seq, near)):
            _add(untold, seq, payload)
        _say_unplaced(untold)
        if meter is not None:
            untold.add_open(meter)
        refused = untold.refused(undeclared)
        for (boot_id, device, _), gaps in refused.stretches.items():
            lost_ns = sum(gap.segment.boot.length_ns for gap in gaps)
            why = ", ".join(sorted({reason for gap in gaps for reason, _ in gap.unobserved_ns}))
            log.error(
                "%s, boot %s: %d ns are in no frame that is left and become a gap (%s)", device, boot_id, lost_ns, why
            )
        return [entry for batch in refused.batches(host_id) for entry in entries_of(batch)]

    return say


def untold_since(frames: Log, reason: GapReason) -> Untold:
    """How far the frames tell, where no checkpoint does: what the next reading leaves between is to be told.

    Time that retention dropped is among that: only the checkpoint remembered it. Raises LogBroken.
    """
    stat = frames.stat()
    behind = stat.last_seq + 1
    untold = Untold(((behind, behind),), reason)
    lost = [*_add_skips(untold, (frame for frame in _frames(frames, stat) if frame.skip)), (behind, behind)]
    for frame in _frames(frames, stat):
        if frame.skip is None and _is_near(frame.seq, lost):
            _add(untold, frame.seq, frame.payload())
    _say_unplaced(untold)
    return untold


def _frames(frames: Log, stat: LogStat) -> Iterator[Frame]:
    seq = stat.first_seq
    while 0 < seq <= stat.last_seq:
        for frame in map(read_frame, frames.read(seq, _AT_ONCE, _AT_ONCE_BYTES)):
            seq = frame.seq + 1
            yield frame


def _add_skips(untold: Untold, frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """Their ranges."""
    ranges: list[tuple[int, int]] = []
    for frame in frames:
        if frame.skip is not None:
            lost = [((each.boot_id, each.device_id, each.generation), each.ns) for each in frame.skip.lost]
            untold.add_skip(frame.first_seq, frame.seq, lost)
            ranges.append((frame.first_seq, frame.seq))
    return ranges


def _say_unplaced(untold: Untold) -> None:
    for (boot_id, device, _), ns in untold.unplaced_ns.items():
        log.error("%s, boot %s: %d ns were dropped, and no row tells when: they stay missing", device, boot_id, ns)


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
