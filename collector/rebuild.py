"""Making the projection again from the log, while no collector runs. Nothing but time can be lost by it."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from ..model.exits import Exit
from ..storage.ledger import Ledger
from ..storage.ledger_folder import LOG_FILE, FolderLock, LedgerError
from ..storage.ledger_reader import LedgerReader
from ..storage.projection import Projection, delete_projection
from .config import CollectorConfig
from .projector import Projector
from .refusal import CannotStart, exit_of

_SAY_EVERY_S: Final = 2.0


def rebuild(config: CollectorConfig, say: Callable[[str], None], is_stopped: Callable[[], bool]) -> Exit:
    """Deletes the projection and folds the whole log; ``say`` is told how far it is. Raises CannotStart.

    Stopped half-way it leaves a projection that is behind: the next collector, or the next rebuild, goes on.
    """
    folder = Path(config.ledger.path)
    if not (folder / LOG_FILE).is_file():
        raise CannotStart(Exit.CONFIG, f"ledger.path: {folder} holds no {LOG_FILE}: there is no log to rebuild from")
    try:
        with ExitStack() as stack:
            stack.callback(FolderLock(folder).release)
            ledger = Ledger(folder)
            stack.callback(ledger.close)
            with LedgerReader(folder) as reader:
                last_log_id = reader.last_log_id()
            delete_projection(folder)
            projection = Projection(folder, ledger.ledger_id, last_log_id)
            stack.callback(projection.close)
            projector = Projector(projection, folder, on_death=lambda: None)
            stack.callback(projector.stop)
            return _fold(projector, last_log_id, say, is_stopped)
    except LedgerError as error:
        raise CannotStart(exit_of(error), f"ledger.path: {error}") from error


def _fold(projector: Projector, last_log_id: int, say: Callable[[str], None], is_stopped: Callable[[], bool]) -> Exit:
    start = said = time.monotonic()
    while projector.fold_some():
        projector.refresh()
        now = time.monotonic()
        if now - said >= _SAY_EVERY_S:
            say(f"folded {projector.position} of {last_log_id} log entries")
            said = now
        if is_stopped():
            say(f"stopped at log entry {projector.position} of {last_log_id}: the collector goes on from there")
            return Exit.OK
    while projector.refresh() and not is_stopped():
        pass
    say(f"rebuilt: {projector.position} log entries in {time.monotonic() - start:.1f} s")
    return Exit.OK
