"""The one thread that writes the ledger: what many streams offer becomes one transaction.

While one commit waits for the disk, offers gather; the next takes them all. Order
within a stream is kept, so each frame is judged by the cursor the one before it left.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from ..storage.ledger_folder import LedgerError
from ..storage.ledger_port import LedgerLog
from ..storage.ledger_rules import Cursor, Offer, Ruling, StreamId, Verdict
from .repeats import Repeats

T = TypeVar("T")
_log = logging.getLogger(__name__)
_MOST_OFFERS: Final = 1_024
_MOST_BYTES: Final = 16 * 1024 * 1024
_RETRY_S: Final = 0.5
_LEDGER: Final = "the ledger"


@dataclass(frozen=True, slots=True)
class Welcomed:
    """Where a stream stands, and which of the frames its host still holds were rejected: the oldest hundred."""

    cursor: Cursor
    tombstones: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class _Offered:
    offer: Offer
    done: Callable[[Ruling | LedgerError], None]


@dataclass(frozen=True, slots=True)
class _Opening:
    stream: StreamId
    first_seq: int
    done: Callable[[Welcomed | LedgerError], None]


@dataclass(slots=True)
class WriterStatistics:
    """Since the start. Frames in equals committed + replays + out_of_order + forks + failed."""

    commits: int = 0
    committed: int = 0
    tombstones: int = 0
    replays: int = 0
    out_of_order: int = 0
    forks: int = 0
    failed: int = 0

    def count(self, ruling: Ruling) -> None:
        self.committed += ruling.verdict is Verdict.COMMITTED
        self.tombstones += ruling.verdict is Verdict.COMMITTED and bool(ruling.rejected)
        self.replays += ruling.verdict is Verdict.REPLAY
        self.out_of_order += ruling.verdict is Verdict.OUT_OF_ORDER
        self.forks += ruling.verdict is Verdict.FORK


class LedgerWriter:
    """``deliver`` runs a function where the streams live (the event loop); answers arrive through it."""

    def __init__(
        self, ledger: LedgerLog, deliver: Callable[[Callable[[], None]], object], on_death: Callable[[], None]
    ) -> None:
        """``on_death`` is called, in the writer's thread, if it ends by an error that nobody foresaw."""
        self.statistics = WriterStatistics()
        self.trouble = ""
        """Why nothing can be committed, if so; until a frame is."""
        self.ledger_id = ledger.ledger_id
        self._repeats = Repeats()
        self._ledger = ledger
        self._deliver = deliver
        self._on_death = on_death
        self._on_commit: Callable[[], None] = lambda: None
        # Unbounded here: what may be in flight is bounded by the streams' shared budget.
        self._queue: queue.SimpleQueue[_Offered | _Opening | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._live, name="ledger-writer", daemon=True)

    def start(self, on_commit: Callable[[], None]) -> None:
        """``on_commit`` is called in the writer's thread whenever the log has grown."""
        self._on_commit = on_commit
        self._thread.start()

    def offer(self, offer: Offer, done: Callable[[Ruling | LedgerError], None]) -> None:
        """``done`` hears what became of it, once that is durable."""
        self._queue.put(_Offered(offer, done))

    def open_stream(self, stream: StreamId, first_seq: int, done: Callable[[Welcomed | LedgerError], None]) -> None:
        """``done`` hears where the stream stands behind all that was offered before.

        Asked again with the place behind the last of the tombstones, it tells the next.
        """
        self._queue.put(_Opening(stream, first_seq, done))

    def stop(self) -> None:
        """Returns when all that was offered is committed, or the writer has died."""
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _live(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.trouble = f"the ledger's writer died: {error!r}"
            _log.critical("%s; nothing can be committed any more", self.trouble, exc_info=True)
            self._on_death()

    def _run(self) -> None:
        running = True
        while running:
            group = self._gather()
            running = None not in group
            offered = [item for item in group if isinstance(item, _Offered)]
            openings = [item for item in group if isinstance(item, _Opening)]
            answers = [*self._commit(offered), *map(self._open, openings)]
            self._answer(answers)

    def _gather(self) -> list[_Offered | _Opening | None]:
        group = [self._queue.get()]
        size_bytes = 0
        while len(group) < _MOST_OFFERS and size_bytes < _MOST_BYTES and group[-1] is not None:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            group.append(item)
            size_bytes += len(item.offer.body) if isinstance(item, _Offered) else 0
        return group

    def _commit(self, offered: list[_Offered]) -> list[Callable[[], None]]:
        if not offered:
            return []
        try:
            rulings = self._ledger.commit([item.offer for item in offered], time.time_ns())
        except LedgerError as error:
            return self._fail(offered, error)
        self.statistics.commits += 1
        for ruling in rulings:
            self.statistics.count(ruling)
        # A group without a new frame proves nothing of the disk: it may be as full as before.
        if any(ruling.verdict is Verdict.COMMITTED for ruling in rulings):
            self.trouble = ""
            if self._repeats.over(_LEDGER):
                _log.warning("the ledger can be written again")
            self._on_commit()
        return [_telling(item.done, ruling) for item, ruling in zip(offered, rulings, strict=True)]

    def _fail(self, offered: list[_Offered], error: LedgerError) -> list[Callable[[], None]]:
        """Nothing is acknowledged. The streams end, and their hosts say again what is unknown."""
        self.trouble = str(error)
        self.statistics.failed += len(offered)
        if self._repeats.is_news(_LEDGER, str(error)):
            _log.error("%d frames could not be committed: %s; tried again for as long as it takes", len(offered), error)
        time.sleep(_RETRY_S)
        try:
            self._ledger.reopen()
        except LedgerError as again:
            _log.error("%s", again)
        return [_telling(item.done, error) for item in offered]

    def _open(self, opening: _Opening) -> Callable[[], None]:
        try:
            cursor = self._ledger.cursor(opening.stream)
            tombstones = self._ledger.tombstones(opening.stream, max(opening.first_seq, 1))
        except LedgerError as error:
            return _telling(opening.done, error)
        return _telling(opening.done, Welcomed(cursor, tuple(tombstones)))

    def _answer(self, answers: list[Callable[[], None]]) -> None:
        if not answers:
            return
        try:
            self._deliver(lambda: _say_all(answers))
        except RuntimeError:
            _log.info("stopped before %d answers were told; their hosts will ask again", len(answers))


def _telling(done: Callable[[T], None], answer: T) -> Callable[[], None]:
    return lambda: done(answer)


def _say_all(answers: list[Callable[[], None]]) -> None:
    for say in answers:
        say()
