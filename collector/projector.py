"""Folds the log into the projection, in a thread of its own, a group of entries to a transaction."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..model.interval import NS_PER_S
from ..storage.ledger_folder import LedgerError
from ..storage.ledger_reader import LedgerReader
from ..storage.usage_store import UsageStore
from .folding import Folding
from .folding_state import FoldingState

_log = logging.getLogger(__name__)
MOST_ENTRIES: Final = 512
MOST_BYTES: Final = 2 * 1024 * 1024
"""A group ends at either: some 50,000 records of Python objects at the very most."""
_PAUSE_S: Final = 0.02
"""Between small groups, so that many streams' frames share a transaction."""
_RETRY_S: Final = 1.0
_REFRESH_S: Final = 5.0
"""How often rollups are made again at most, once the end of the log is reached: a host that is late
touches the same few buckets over and over."""
_REFRESH_GROUPS: Final = 50
"""How many groups apart while there is more to fold: what is dirty is kept in memory too."""
_SETTLED_NS: Final = 120 * NS_PER_S
"""A bucket is not worth a rollup before windows in it have hardly any chance to come."""


class Projector:
    """``position`` is how far the projection has come in the log; readable from any thread."""

    def __init__(self, store: UsageStore, folder: Path, on_death: Callable[[], None]) -> None:
        """``on_death`` is called, in the projector's thread, if it ends by an error that nobody foresaw."""
        self._store = store
        self._reader = LedgerReader(folder)
        self._state: FoldingState | None = None
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._groups = 0
        self._received_ns = 0
        self._refresh_at = 0.0
        self._took_s = 0.0
        self._on_death = on_death
        self._thread = threading.Thread(target=self._live, name="projector", daemon=True)
        self.trouble = ""
        """Why nothing is folded at the moment, if so."""

    @property
    def position(self) -> int:
        return self._store.position

    def start(self) -> None:
        self._thread.start()

    def notify(self) -> None:
        """There is something new in the log."""
        self._news.set()

    def stop(self) -> None:
        """Returns when the group at hand is finished. What is not folded yet is when the collector runs again."""
        self._stopping.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._reader.close()

    def _live(self) -> None:
        try:
            self._run()
        except BaseException:
            _log.critical("the projector died at log entry %d", self.position, exc_info=True)
            self._on_death()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._fold_all()
                self.trouble = ""
            except LedgerError as error:
                self._recover(error)

    def _fold_all(self) -> None:
        """Until the end of the log, then waits for more."""
        while folded := self.fold_some():
            if self._stopping.is_set():
                return
            self._stopping.wait(_PAUSE_S if folded < MOST_ENTRIES else self._rest_s())
            self._groups += 1
            if self._groups % _REFRESH_GROUPS == 0:
                self.refresh()
        self._refresh_when_due()
        self._news.wait(_REFRESH_S)
        self._news.clear()

    def _rest_s(self) -> float:
        """Between full groups: none when nothing comes in, else as long as the last one took.

        Both sides want Python's lock, and what hosts say must be durable first.
        """
        busy = self._news.is_set()
        self._news.clear()
        return self._took_s if busy else 0

    def _refresh_when_due(self) -> None:
        if time.monotonic() < self._refresh_at:
            return
        while self.refresh() and not self._news.is_set():
            pass
        self._refresh_at = time.monotonic() + _REFRESH_S

    def refresh(self) -> int:
        """Makes some rollups again of what has settled; how many. Raises LedgerBroken, and then nothing has changed."""
        return self._store.refresh(self._received_ns - _SETTLED_NS)

    def _recover(self, error: LedgerError) -> None:
        """The log is the truth: the same entries are folded again, from what really was committed."""
        self._state, self.trouble = None, str(error)
        _log.error("the projection stands still at log entry %d: %s", self.position, error)
        self._stopping.wait(_RETRY_S)
        try:
            self._store.reopen(self._reader.last_log_id())
        except LedgerError as again:
            _log.error("%s", again)

    def fold_some(self, through: int = sys.maxsize) -> int:
        """Folds one group, none of it behind ``through``; how many entries it had.

        Raises LedgerBroken, and then nothing has changed.
        """
        began_s = time.monotonic()
        found = self._reader.read(self.position, MOST_ENTRIES, MOST_BYTES)
        entries = [entry for entry in found if entry.log_id <= through]
        if not entries:
            return 0
        with self._store.transaction(entries[-1].log_id):
            self._state = self._state or FoldingState(self._store)
            folding = Folding(self._store, self._state, self._reader.held_through)
            for entry in entries:
                folding.take(entry)
            folding.finish()
        self._received_ns = entries[-1].received_ns
        self._took_s = time.monotonic() - began_s
        return len(entries)
