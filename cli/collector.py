"""``gputally collector``: the central process, in the foreground."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from ..collector.app import run_collector
from ..collector.config import CollectorConfig
from ..collector.loading import load_collector_config
from ..collector.rebuild import rebuild
from ..collector.refusal import CannotStart
from ..model.exits import Exit
from ..model.settings import BadSettings
from .early_stop import EARLY_STOP
from .logging_setup import log_to_stderr

log = logging.getLogger("gputally")


_CONFIG = click.option(
    "--config", "path", type=click.Path(path_type=Path), help="collector.toml; without it: defaults."
)
_VERBOSE = click.option("--verbose", is_flag=True, help="Log what is only of use when something is wrong.")


@click.group(invoke_without_command=True)
@_CONFIG
@_VERBOSE
@click.pass_context
def command(context: click.Context, path: Path | None, verbose: bool) -> None:
    """Run the central process until SIGTERM: receive, commit, acknowledge, answer.

    Exit codes: 0 stopped, 69 an address or the ledger is taken, 70 a part died, 74 the disk is
    full or broken, 78 the configuration must change.
    """
    context.obj = path
    log_to_stderr(verbose)
    if context.invoked_subcommand is None:
        _leave(_run(path, run_collector))


@command.command("rebuild")
@_CONFIG
@click.pass_context
def rebuild_command(context: click.Context, path: Path | None) -> None:
    """Delete the projection and make it again from the log, while no collector runs.

    Exit codes: 0 made, or stopped half-way (a collector goes on from there); 69 a collector has the
    ledger; 74 the disk is full or broken; 78 there is no ledger, or the configuration must change.
    """
    _leave(_run(path or context.obj, rebuild))


def _leave(code: int) -> NoReturn:
    """Ends without Python's own clearing up, during which DuckDB 2.0 prints pages about leaked types.

    All files are closed and flushed by now.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


_Work = Callable[[CollectorConfig, Callable[[str], None], Callable[[], bool]], int]


def _run(path: Path | None, work: _Work) -> int:
    try:
        return work(load_collector_config(path, os.environ), click.echo, lambda: EARLY_STOP.asked)
    except BadSettings as bad:
        log.error("%s", bad)
        return Exit.CONFIG
    except CannotStart as error:
        log.error("%s", error)
        log.debug("where it came from", exc_info=error)
        return error.code
