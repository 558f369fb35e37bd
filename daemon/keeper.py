"""Writes what closed, and what is still open, to the log: one transaction, in the one writer thread."""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Final, Protocol, TypeVar

import trio

from ..model.checkpoint import BadCheckpoint, load, load_untold, save, save_refused
from ..model.interval import NS_PER_HOUR
from ..model.meter import Meter
from ..model.reading import GapReason
from ..model.refused import Refused
from ..model.untold import AFTER_ALL, Untold
from ..model.usage import Batch
from ..storage.checkpoint import DamagedCheckpoint, decode, encode
from ..storage.skip import Lost
from ..storage.wal import Log, LogBroken, LogFull
from .amends import untold_since
from .entries import entries_of
from .giving_up import give_up
from .signing import Signed, Signing, try_to_sign
from .sure_log import SureLog

log = logging.getLogger(__name__)

T = TypeVar("T")

RETAIN_EVERY_S = 600.0
MOST_WAITING = 256
"""Batches held in memory while the disk fails: some four hours of windows. What closes after them is an exact gap."""
_MOST_ROWS: Final = 1_000
"""Declared with one batch: a tick must not wait for the gaps of a month."""


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
    """From the return of ``keep`` on, nothing that it says was kept may be lost, or is declared lost to the ns.

    ``drop_oldest``: what a full log does where the collector is away: give up the oldest, or refuse the newest.
    """

    log: Log
    in_writer: InWriter
    refused: Refused = field(default_factory=Refused)
    waiting: tuple[Batch, ...] = ()
    """What a failing disk has not taken yet, or perhaps has: it is said again, and is in the log once."""
    drop_oldest: bool = False
    signing: Signing | None = None
    _sure: SureLog = field(init=False)
    _held: bytes = b""
    """The checkpoint that goes with ``waiting``."""
    _untold: Untold | None = None
    """Where no checkpoint could be read: how far the log tells, until the first reading shows what is missing."""

    def __post_init__(self) -> None:
        self._sure = SureLog(self.log)

    async def keep(self, meter: Meter, batch: Batch | None) -> list[Batch]:
        """Commits the batch together with a checkpoint that no longer holds what the batch closed.

        Returns what was committed. A full log refuses the batch, or drops older ones for it: their time is
        then declared as a gap, exactly, once there is room. While the disk fails the batch waits here for
        the next call.
        """
        self._find_untold(meter, batch)
        if batch is not None and len(self.waiting) >= MOST_WAITING:
            self.refused, batch = self.refused.with_batch(batch), None
        signed = await self._sign(batch)
        if batch is not None and signed is not None:
            batch = signed.on(batch)
        batches, left = self._plain(batch)
        full: LogFull | None = None
        try:
            ways = await self._ways(batch)
            if batch is not None and len(ways) == 1 and not self.waiting and self.refused.is_at_bound(batch):
                return await self._refuse(meter, batches, LogFull("the log is full too often"))
            for batches, left in ways:
                try:
                    await self._commit(batches, meter, left)
                    return self._written(batches, signed)
                except LogFull as why:
                    full = why
        except LogBroken as broken:
            self._wait(batches, left, meter, broken)
            return []
        assert full is not None, "there is always a way to try"
        return await self._make_do(meter, _behind(self._sure.found, batches), full)

    async def restore(self) -> Meter | None:
        """The meter of a former life, as its last checkpoint left it; None if there is none that can be read.

        While batches wait, the log's checkpoint still holds open what is in them: theirs counts.
        """
        if self.waiting:
            return load(decode(self._held))[0]
        raw = await self.in_writer(self.log.checkpoint)
        reason = GapReason.LOG_DAMAGED
        try:
            if raw is not None:
                state = decode(raw)
                untold = load_untold(state)
                meter, self.refused = load(state)
                self._untold = untold
                return meter
        except DamagedCheckpoint as error:
            log.error("what was open when the daemon last stopped is lost: %s", error)
        except BadCheckpoint as error:
            log.error("what was open when the daemon last stopped is lost: %s", error)
            reason = GapReason.DAEMON_DOWN
        self._untold = await self.in_writer(partial(untold_since, self.log, reason))
        return None

    def _find_untold(self, meter: Meter, batch: Batch | None) -> None:
        """The first reading that shows devices ends what a lost checkpoint left open; until then it stays in ours."""
        if self._untold is None:
            return
        if batch is not None:
            self._untold.add(AFTER_ALL, batch)
        if meter.devices:
            self._untold.add_open(meter)
            self.refused = self.refused.with_others(self._untold.refused(self.refused))
            self._untold = None

    async def _ways(self, batch: Batch | None) -> list[tuple[list[Batch], Refused]]:
        """(what to write, what then is still undeclared), the best first; all end with the batch.

        Nothing is declared while the log is full and the collector away: the declaration would be the
        next to go, or would push out what is kept. While anything is undeclared no watermark may say
        that all is told. What waits for the disk may be there already, so it is said as it was.
        """
        plain = self._plain(batch)
        if batch is None or not self.refused or self.waiting or self._untold is not None:
            return [plain]
        if not await self.in_writer(self.log.has_room_to_spare):
            return [plain]
        told, rest = self.refused.first(_MOST_ROWS)
        last = replace(batch, complete_through_ns=None) if rest else batch
        return [([*told.batches(batch.host_id), last], rest), plain]

    def _plain(self, batch: Batch | None) -> tuple[list[Batch], Refused]:
        """Nothing is declared, so while anything should be the batch says no watermark."""
        if batch is not None and (self.refused or self._untold is not None):
            batch = replace(batch, complete_through_ns=None)
        return [*self.waiting, *([batch] if batch else [])], self.refused

    def _written(self, batches: list[Batch], signed: Signed | None) -> list[Batch]:
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

    async def _make_do(self, meter: Meter, batches: list[Batch], full: LogFull) -> list[Batch]:
        """``batches``: what was to be kept, without what is to be declared. The log has no room for it."""
        self.waiting = ()
        if not self.drop_oldest or not batches:
            return await self._refuse(meter, batches, full)
        told = [replace(batch, complete_through_ns=None) for batch in batches]
        if not self.refused:
            log.error("%s; the oldest frames give way, and their time becomes an exact gap (dropped)", full)
        try:
            await self.in_writer(partial(self._write_over, told, meter, self.refused))
        except LogFull as still:
            return await self._refuse(meter, batches, still)
        except LogBroken as broken:
            # Perhaps it was written. So what it gave up counts as that: said twice is better than not at all.
            self._wait(told, self.refused, meter, broken)
            return []
        return told

    async def _refuse(self, meter: Meter, batches: list[Batch], full: LogFull) -> list[Batch]:
        if not self.refused:
            log.error("%s; until there is room, usage becomes an exact gap (buffer_full)", full)
        refused = reduce(Refused.with_batch, batches, self.refused)
        try:
            await self._commit([], meter, refused)
        except LogFull as still:
            log.error("not even a checkpoint fits (%s): a restart would go on from an older one", still)
            self.refused = refused
        except LogBroken as broken:
            self._wait([], refused, meter, broken)
        return []

    def _wait(self, batches: list[Batch], refused: Refused, meter: Meter, broken: LogBroken) -> None:
        if not self.waiting:
            log.error("%s; metering goes on, and what is closed waits in memory for the disk", broken)
        self.waiting, self.refused = tuple(batches), refused
        self._held = encode(save(meter, refused, self._untold)) if batches else b""

    async def _commit(self, batches: list[Batch], meter: Meter, refused: Refused) -> None:
        entries = [entry for batch in batches for entry in entries_of(batch)]
        state = save(meter, refused, self._untold)
        await self.in_writer(lambda: self._sure.append(entries, encode(state)))
        self.refused = refused

    def _write_over(self, batches: list[Batch], meter: Meter, refused: Refused) -> None:
        """In the writer's thread."""
        state = save(meter, Refused(), self._untold)

        def judge(frames: Sequence[bytes]) -> tuple[Iterable[Lost], bytes]:
            self.refused, lost = give_up(frames, refused)
            return lost, encode(state | save_refused(self.refused))

        try:
            self._sure.append_over([entry for batch in batches for entry in entries_of(batch)], judge)
        except LogFull:
            self.refused = refused
            raise


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
        count -= len(entries_of(batches[0]))
        batches = batches[1:]
    return batches
