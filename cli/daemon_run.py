"""The host process itself, in the foreground. Imported only to run it, for it carries much."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import trio

from ..daemon import wiring
from ..daemon.control import ControlUnusable
from ..daemon.host_lock import HostLocked
from ..daemon.loading import load_daemon_config
from ..model.exits import Exit
from ..model.settings import BadSettings
from ..plugins.attribution.rules import BadRules
from ..plugins.otel.errors import TelemetryUnusable
from ..storage.wal import LogBroken, LogUnusable
from .early_stop import EARLY_STOP

log = logging.getLogger("gputally")


def run(path: Path | None) -> int:
    """The exit code, once the process was told to stop or cannot go on."""
    try:
        config = load_daemon_config(path, os.environ)
        with wiring.opened(config) as parts:
            trio.run(wiring.run, parts, click.echo, lambda: EARLY_STOP.asked)
    except BaseExceptionGroup as group:
        return max(map(_refuse, _leaves(group.exceptions)))
    except Exception as error:
        return _refuse(error)
    return Exit.OK


def _refuse(error: BaseException) -> int:
    """Says what is wrong without a traceback, and which exit code it is."""
    log.debug("where it came from", exc_info=error)
    match error:
        case BadSettings() | BadRules():
            code = Exit.CONFIG
        case HostLocked() | LogUnusable() | TelemetryUnusable() | ControlUnusable():
            code = error.exit_code
        case LogBroken():
            code = Exit.IO
        case _:
            log.error("%s: %s (a defect of ours; --verbose shows where)", type(error).__name__, error)
            return Exit.SOFTWARE
    log.error("%s", error)
    return code


def _leaves(errors: Iterable[BaseException]) -> Iterator[BaseException]:
    for error in errors:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error.exceptions)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        else:
            yield error
