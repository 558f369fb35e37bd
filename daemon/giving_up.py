"""What was in frames that the log gives up: their time, to the nanosecond, and what must be said of it later."""

import logging
from collections.abc import Iterable, Iterator

from ..model.reading import GapReason
from ..model.refused import Refused
from ..model.usage import Batch
from ..proto.convert import decode_batch
from ..storage.frame import read_frame
from ..storage.skip import Lost, sum_up

log = logging.getLogger(__name__)


def give_up(
    frames: Iterable[bytes], refused: Refused, reason: GapReason = GapReason.DROPPED
) -> tuple[Refused, tuple[Lost, ...]]:
    """``refused`` with the time of these frames, and that time for each device."""
    lost: list[Lost] = []
    for batch in _batches(frames):
        refused = refused.with_batch(batch, reason)
        lost += _lost(batch)
    return refused, sum_up(lost)


def _batches(frames: Iterable[bytes]) -> Iterator[Batch]:
    for raw in frames:
        frame = read_frame(raw)
        try:
            yield decode_batch(frame.payload())
        except ValueError as error:
            log.error("frame %d is given up, and what it held cannot be read: %s", frame.seq, error)


def _lost(batch: Batch) -> Iterator[Lost]:
    """A revision says better what another row says too, and is no further time."""
    for row in batch.rows:
        if not row.revision:
            segment = row.segment
            yield Lost(batch.boot_id, segment.device_id, segment.generation, segment.boot.length_ns)
