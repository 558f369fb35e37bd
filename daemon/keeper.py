"""Writes what closed, and what is still open, to the log: one transaction, in the one writer thread."""

import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Protocol, TypeVar

import trio

from ..model.batching import can_be_halved, halve
from ..model.checkpoint import BadCheckpoint, load, save
from ..model.interval import NS_PER_HOUR
from ..model.meter import Meter
from ..model.refused import Refused
from ..model.usage import Batch
from ..proto.convert import encode_batch
from ..storage.checkpoint import DamagedCheckpoint, decode, encode
from ..storage.frame import MAX_PAYLOAD_BYTES, MAX_RECORDS
from ..storage.wal import Entry, Log, LogBroken, LogFull
from .signing import Signed, Signing, try_to_sign
from .sure_log import SureLog

log = logging.getLogger(__name__)

T = TypeVar("T")

RETAIN_EVERY_S = 600.0
MOST_WAITING = 256
"""Batches held in memory while the disk fails: some four hours of windows. What closes after them is an exact gap."""


class InWriter(Protocol):
    """Runs some work in the log's writer thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class WriterThread:
    """All writing to the log happens here, one call at a time, and never on trio's thread."""

    def __init__(self) -> None:
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def __call__(self, work: Callable[[], T], /) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._one_at_a_time)


@dataclass(slots=True)
class Keeper:
    """From the return of ``keep`` on, nothing that it says was kept may be lost."""

    log: Log
    in_writer: InWriter
    refused: Refused = field(default_factory=Refused)
    waiting: tuple[Batch, ...] = ()
    """What a failing disk has not taken yet, or perhaps has: it is said again, and is in the log once."""
    signing: Signing | None = None
    _sure: SureLog = field(init=False)

    def __post_init__(self) -> None:
        self._sure = SureLog(self.log)

    async def keep(self, meter: Meter, batch: Batch | None) -> list[Batch]:
        """Commits the batch together with a checkpoint that no longer holds what the batch closed.

        Returns what was committed. A full log refuses the batch: its time is then declared as a
        gap, exactly, once there is room. While the disk fails the batch waits here for the next call.
        """
        if batch is not None and len(self.waiting) >= MOST_WAITING:
            self.refused, batch = self.refused.with_batch(batch), None
        signed = await self._sign(batch)
        if batch is not None and signed is not None:
            batch = signed.on(batch)
        refused = [] if batch is None else [*self.refused.batches(batch.host_id), batch]
        batches = [*self.waiting, *refused]
        left = Refused() if batch is not None else self.refused
        try:
            await self._commit(batches, meter, left)
        except LogFull as full:
            await self._refuse(meter, [*self.waiting, *refused[-1:]], full)
            return []
        except LogBroken as broken:
            self._wait(batches, left, broken)
            return []
        if self.waiting:
            log.warning("the log can be written again; all that waited is in it")
        self.waiting = ()
        if self.signing is not None and signed is not None:
            self.signing.kept(signed, trio.current_time())
        return batches

    async def sign_off(self, meter: Meter) -> bool:
        """The last word of a graceful stop: a frame of its own with the signature of all before it. False: none."""
        signed = await self._sign(last := Batch(meter.host_id, meter.boot_id), at_once=True)
        if signed is None or not signed.checkpoints:
            return False
        try:
            await self._commit([signed.on(last)], meter, self.refused)
        except (LogFull, LogBroken) as error:
            log.warning("%s; the last frames are signed at the next start", error)
            return False
        return True

    async def _sign(self, batch: Batch | None, at_once: bool = False) -> Signed | None:
        """None: nothing to sign, or not now. What may not be in the log yet is not signed, lest it never be there."""
        now_s = trio.current_time()
        if self.signing is None or batch is None or self.waiting or not (at_once or self.signing.due(now_s)):
            return None
        return await self.in_writer(partial(try_to_sign, self.signing, now_s))

    async def restore(self) -> Meter | None:
        """The meter of a former life, as its last checkpoint left it; None if there is none that can be read."""
        raw = await self.in_writer(self.log.checkpoint)
        if raw is None:
            return None
        try:
            meter, self.refused = load(decode(raw))
        except (DamagedCheckpoint, BadCheckpoint) as error:
            log.error("what was open when the daemon last stopped is lost: %s", error)
            return None
        return meter

    async def _refuse(self, meter: Meter, batches: list[Batch], full: LogFull) -> None:
        """``batches``: what was to be kept, without what had been refused before."""
        if not self.refused.stretches:
            log.error("%s; until there is room, usage becomes an exact gap (buffer_full)", full)
        lost = _behind(self._sure.found, batches)
        refused, self.waiting = reduce(Refused.with_batch, lost, self.refused), ()
        try:
            await self._commit([], meter, refused)
        except LogFull as still:
            log.error("not even a checkpoint fits (%s): a restart would go on from an older one", still)
            self.refused = refused
        except LogBroken as broken:
            self._wait([], refused, broken)

    def _wait(self, batches: list[Batch], refused: Refused, broken: LogBroken) -> None:
        if not self.waiting:
            log.error("%s; metering goes on, and what is closed waits in memory for the disk", broken)
        self.waiting, self.refused = tuple(batches), refused

    async def _commit(self, batches: list[Batch], meter: Meter, refused: Refused) -> None:
        entries = [entry for batch in batches for entry in _entries(batch)]
        state = save(meter, refused)
        await self.in_writer(lambda: self._sure.append(entries, encode(state)))
        self.refused = refused


async def retain(frames: Log, in_writer: InWriter, keep_acked_h: float) -> None:
    """Drops acknowledged frames that are older than they need be kept. Runs for ever."""
    while math.isfinite(keep_acked_h):
        oldest_ns = time.time_ns() - round(keep_acked_h * NS_PER_HOUR)
        try:
            await in_writer(partial(frames.trim, oldest_ns))
        except LogBroken as broken:
            log.error("%s; old frames are kept for longer", broken)
        await trio.sleep(RETAIN_EVERY_S)


def _behind(count: int, batches: list[Batch]) -> list[Batch]:
    """Those whose entries are not among the first ``count``."""
    while batches and count > 0:
        count -= len(_entries(batches[0]))
        batches = batches[1:]
    return batches


def _entries(batch: Batch) -> list[Entry]:
    """A batch as frames can hold it; one device's segment is within a frame by the tally's own bounds."""
    payload = encode_batch(batch)
    fits = len(batch.records) <= MAX_RECORDS and len(payload) <= MAX_PAYLOAD_BYTES
    if fits or not can_be_halved(batch):
        return [Entry(len(batch.records), payload)]
    return [entry for half in halve(batch) for entry in _entries(half)]
