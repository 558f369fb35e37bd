"""The collector's wiring: every part, and the order in which they start and stop.

    hosts ==gRPC==> intake --offers--> writer --commit--> log (SQLite)
                      ^                  |                  |
                      +-- acknowledged --+               projector
                                                            v
    callers ==HTTP==> api --questions--> snapshot of the projection (DuckDB)

Start: folder, lock, log, projection, writer, projector, addresses, ready.
Stop: goodbye to the streams, what they offered is committed and acknowledged,
then the API, the writer, the projector and the files.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from ..model.exits import Exit
from ..model.settings import BadSettings
from ..plugins.notify import Notifier
from ..plugins.signing_key import BadSigningKey, load_key_file
from ..storage.access_log import AccessLog
from ..storage.ledger import Ledger
from ..storage.ledger_folder import FolderLock, LedgerError, prepare_folder
from ..storage.ledger_reader import LedgerReader
from ..storage.projection import Projection
from .api import make_api
from .api_parts import Parts
from .api_server import ApiServer
from .asking import Questions
from .config import ApiConfig, CollectorConfig, LedgerConfig
from .deciding import Decisions, own_stream
from .intake import Intake, IntakeServer
from .intake_credentials import IntakeCredentials
from .limits import Limits
from .projector import Projector
from .refusal import CannotStart, exit_of
from .rule_desk import RuleDesk
from .sealing import Sealer
from .tokens import Token, load_tokens
from .writer import LedgerWriter

_log = logging.getLogger(__name__)
_GOODBYE_S: Final = 5.0
_STOP_DEADLINE_S: Final = 20.0
_DAY_NS: Final = 86_400 * 10**9
_SWITCH_S: Final = 0.0005
"""How long the projector's thread may keep the streams' thread waiting for Python's lock. With the default of
5 ms a busy projector halves what the intake takes (bench/bench_intake.py)."""


def run_collector(config: CollectorConfig, say: Callable[[str], None], is_stopped: Callable[[], bool]) -> Exit:
    """Runs until SIGTERM or SIGINT; ``say`` gets the one line that tells it is ready. Raises CannotStart.

    ``is_stopped``: whether one of them came before it listens.
    """
    sys.setswitchinterval(_SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(config, say, is_stopped))


@dataclass(slots=True)
class _End:
    """Why the collector stops: set once, by a signal or by a part that died."""

    event: asyncio.Event
    code: Exit = Exit.OK

    def because(self, code: Exit) -> None:
        self.code = max(self.code, code)
        self.event.set()


async def _run(config: CollectorConfig, say: Callable[[str], None], is_stopped: Callable[[], bool]) -> Exit:
    notifier = Notifier()
    end = _End(asyncio.Event())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.because, Exit.OK)
    if is_stopped():
        return Exit.OK
    too_late = threading.Timer(_STOP_DEADLINE_S, _give_up)
    too_late.daemon = True
    async with _running(config, end) as ready:
        say(ready)
        notifier.ready()
        notifier.status(ready)
        await _wait(end, notifier)
        notifier.stopping()
        _log.info("stopping")
        too_late.start()
    too_late.cancel()
    notifier.close()
    _log.info("stopped")
    return end.code


async def _wait(end: _End, notifier: Notifier) -> None:
    """Until the end. The watchdog is fed by the loop that serves the streams: if it hangs, so does the food."""
    while not end.event.is_set():
        notifier.watchdog()
        try:
            await asyncio.wait_for(end.event.wait(), notifier.watchdog_interval_s)
        except TimeoutError:
            continue


@asynccontextmanager
async def _running(config: CollectorConfig, end: _End) -> AsyncGenerator[str]:
    """Everything runs inside; the text says where. Parts stop in the reverse order of their start."""
    tokens = _tokens(config.api)
    loop = asyncio.get_running_loop()
    folder = Path(config.ledger.path)
    async with AsyncExitStack() as stack:
        ledger, projection, last_log_id = _open_stores(folder, stack)
        projector = Projector(projection, folder, lambda: _die(loop, end))
        stack.push_async_callback(asyncio.to_thread, projector.stop)
        writer = LedgerWriter(ledger, loop.call_soon_threadsafe, lambda: _die(loop, end))
        stack.push_async_callback(asyncio.to_thread, writer.stop)
        questions = Questions(projection)
        stack.callback(questions.close)
        access = _open_access(folder, config.api, stack, lambda: _die(loop, end))
        limits = Limits(config.api.requests_per_minute, config.api.concurrent_requests)
        intake = Intake(writer, None if config.intake.insecure_plaintext else IntakeCredentials(config.intake))
        api = ApiServer(config.api)
        api_at = api.listen()
        stack.push_async_callback(api.stop)
        server = IntakeServer(intake, config.intake)
        intake_at = await server.start()
        stack.push_async_callback(server.stop, _GOODBYE_S)
        decisions = Decisions(writer, questions, lambda: _log_end(folder))
        rules = RuleDesk(questions, last_log_id, intake.tell_rules)
        decisions.on_made = rules.note
        sealer = _sealer(config.ledger, ledger.ledger_id)
        parts = Parts(
            questions,
            folder,
            config.skus,
            tokens,
            intake,
            writer,
            projector,
            decisions,
            access,
            limits,
            sealer,
            last_log_id,
        )
        writer.start(projector.notify)
        projector.start()
        api.start(make_api(parts))
        stack.callback(asyncio.create_task(rules.watch()).cancel)
        yield f"ready: intake {intake_at}, api http://{api_at}"
        parts.stopping = True


def _open_stores(folder: Path, stack: AsyncExitStack) -> tuple[Ledger, Projection, int]:
    """Raises CannotStart, which names ledger.path."""
    try:
        prepare_folder(folder)
        stack.callback(FolderLock(folder).release)
        ledger = Ledger(folder)
        stack.callback(ledger.close)
        last_log_id = _log_end(folder)
        projection = Projection(folder, ledger.ledger_id, last_log_id)
        stack.callback(projection.close)
    except LedgerError as error:
        raise CannotStart(exit_of(error), f"ledger.path: {error}") from error
    return ledger, projection, last_log_id


def _log_end(folder: Path) -> int:
    """Raises LedgerError."""
    with LedgerReader(folder) as reader:
        return reader.last_log_id()


def _open_access(folder: Path, config: ApiConfig, stack: AsyncExitStack, on_death: Callable[[], None]) -> AccessLog:
    """Raises CannotStart, which names the file."""
    try:
        access = AccessLog(folder, config.access_log_days * _DAY_NS, on_death=on_death)
    except LedgerError as error:
        raise CannotStart(exit_of(error), f"ledger.path: {error}") from error
    access.start()
    stack.push_async_callback(asyncio.to_thread, access.stop)
    return access


def _sealer(config: LedgerConfig, ledger_id: str) -> Sealer:
    """Raises CannotStart for a key that cannot be used: better now than at the end of the month."""
    path = None if config.signing_key is None else Path(config.signing_key)
    try:
        if path is not None:
            load_key_file(path)
    except BadSigningKey as error:
        raise CannotStart(Exit.CONFIG, f"ledger.signing_key: {error}") from None
    return Sealer(own_stream(ledger_id).epoch, path)


def _tokens(config: ApiConfig) -> tuple[Token, ...] | None:
    if config.tokens is None:
        _log.warning("api.tokens is not set: anybody on this host can read all usage at %s", config.listen)
        return None
    try:
        return load_tokens(Path(config.tokens))
    except BadSettings as bad:
        raise CannotStart(Exit.CONFIG, f"api.tokens: {bad}") from None


def _die(loop: asyncio.AbstractEventLoop, end: _End) -> None:
    loop.call_soon_threadsafe(end.because, Exit.SOFTWARE)


def _give_up() -> None:
    """A disk that hangs must not keep us: what is not acknowledged, hosts say again."""
    _log.critical("not stopped within %g s: leaving what hangs", _STOP_DEADLINE_S)
    os._exit(Exit.IO)
