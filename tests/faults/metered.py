"""What the hosts of these tests meter: second after second of one GPU, so that each second has a number.

The number of the next second is in the meter's own checkpoint, where the keeper
puts it together with the frame. So a frame that was lost leaves a hole in the
numbers, and one that was written without its checkpoint is there twice.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gputally.model.identity import records_digest
from gputally.model.interval import NS_PER_S, Interval
from gputally.model.meter import Meter
from gputally.model.usage import Batch
from gputally.proto.convert import decode_batch
from gputally.simulator.stream import SimulatedHost
from gputally.storage.frame import read_frame
from gputally.storage.ledger_reader import Entry, LedgerReader
from gputally.storage.ledger_rules import EntryKind

GPU: Final = "nvidia:GPU-0"
_FIRST_NS: Final = 1_780_000_000 * NS_PER_S


def second(host_id: str, number: int) -> Batch:
    """The usage of second ``number``, from 0, with its conservation row and the watermark behind it."""
    start_ns = _FIRST_NS + number * NS_PER_S
    host = SimulatedHost(host_id)
    host.hold(GPU, "NVIDIA H100", "acme", Interval(start_ns, start_ns + NS_PER_S), NS_PER_S)
    (batch,) = host.batches()
    return batch


def meter_at(host_id: str, number: int) -> Meter:
    """A meter that will meter second ``number`` next."""
    return Meter(host_id, "boot-1", NS_PER_S, complete_through_ns=_FIRST_NS + number * NS_PER_S)


def next_number(meter: Meter | None) -> int:
    """The second that this meter meters next."""
    if meter is None or meter.complete_through_ns is None:
        return 0
    return (meter.complete_through_ns - _FIRST_NS) // NS_PER_S


def numbers_in(batch: Batch) -> list[int]:
    """The seconds whose rows are in a batch."""
    return [(row.segment.wall_start_ns - _FIRST_NS) // NS_PER_S for row in batch.rows]


def padded(batch: Batch, junk: str) -> Batch:
    """The same with more bytes, in the name of the rule that its records give."""
    records = tuple(replace(record, owner=replace(record.owner, rule=junk)) for record in batch.records)
    rows = tuple(replace(row, records_digest=records_digest(records)) for row in batch.rows)
    return replace(batch, records=records, rows=rows)


@dataclass(frozen=True, slots=True)
class Found:
    """What a ledger holds of one host."""

    present: frozenset[int] = frozenset()
    doubled: int = 0
    tombstones: int = 0

    def missing(self, count: int) -> int:
        """How many of the seconds 0 to ``count`` are not there."""
        return sum(number not in self.present for number in range(count))


def found_in_ledger(folder: Path) -> dict[str, Found]:
    """By host, of every frame. A second may be in two epochs (it is then one key) but not twice in one."""
    counted: dict[str, Counter[tuple[bytes, int]]] = {}
    tombstones: Counter[str] = Counter()
    for entry in _entries(folder):
        host_id = entry.stream.host_id
        seconds = counted.setdefault(host_id, Counter())
        if entry.kind is EntryKind.TOMBSTONE:
            tombstones[host_id] += 1
        elif entry.kind is EntryKind.FRAME:
            batch = decode_batch(read_frame(entry.body).payload())
            seconds.update((entry.stream.epoch, number) for number in numbers_in(batch))
    return {host_id: _found(seconds, tombstones[host_id]) for host_id, seconds in counted.items()}


def _found(seconds: "Counter[tuple[bytes, int]]", tombstones: int) -> Found:
    doubled = sum(times - 1 for times in seconds.values())
    return Found(frozenset(number for _, number in seconds), doubled, tombstones)


def _entries(folder: Path) -> Iterator[Entry]:
    after = 0
    with LedgerReader(folder) as reader:
        while entries := reader.read(after, 1_000, 1 << 24):
            yield from entries
            after = entries[-1].log_id
