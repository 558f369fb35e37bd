"""``gputally daemon``: the host process, in the foreground."""

import logging
import os
import sys
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
from .logging_setup import log_to_stderr

log = logging.getLogger("gputally")


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), help="daemon.toml; without it: defaults.")
@click.option("--verbose", is_flag=True, help="Log what is only of use when something is wrong.")
def command(path: Path | None, verbose: bool) -> None:
    """Run the host process until SIGTERM: sample, attribute, meter, keep, send."""
    log_to_stderr(verbose)
    sys.exit(_run(path))


def _run(path: Path | None) -> int:
    try:
        config = load_daemon_config(path, os.environ)
        with wiring.opened(config) as parts:
            trio.run(wiring.run, parts, click.echo)
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
