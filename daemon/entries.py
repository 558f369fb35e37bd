"""Batches as the log takes them."""

from ..model.batching import can_be_halved, halve
from ..model.usage import Batch
from ..proto.convert import encode_batch
from ..storage.frame import MAX_PAYLOAD_BYTES, MAX_RECORDS
from ..storage.wal import Entry


def entries_of(batch: Batch) -> list[Entry]:
    """A batch as frames can hold it; one device's segment is within a frame by the tally's own bounds."""
    payload = encode_batch(batch)
    fits = len(batch.records) <= MAX_RECORDS and len(payload) <= MAX_PAYLOAD_BYTES
    if fits or not can_be_halved(batch):
        return [Entry(len(batch.records), payload)]
    return [entry for half in halve(batch) for entry in entries_of(half)]
