"""``gputally collector``: the central process, in the foreground."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from ..collector.app import run_collector
from ..collector.loading import load_collector_config
from ..collector.refusal import CannotStart
from ..model.exits import Exit
from ..model.settings import BadSettings
from .early_stop import EARLY_STOP
from .logging_setup import log_to_stderr

log = logging.getLogger("gputally")


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), help="collector.toml; without it: defaults.")
@click.option("--verbose", is_flag=True, help="Log what is only of use when something is wrong.")
def command(path: Path | None, verbose: bool) -> None:
    """Run the central process until SIGTERM: receive, commit, acknowledge, answer.

    Exit codes: 0 stopped, 69 an address or the ledger is taken, 70 a part died, 74 the disk is
    full or broken, 78 the configuration must change.
    """
    log_to_stderr(verbose)
    _leave(_run(path))


def _leave(code: int) -> NoReturn:
    """Ends without Python's own clearing up, during which DuckDB 2.0 prints pages about leaked types.

    All files are closed and flushed by now.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(path: Path | None) -> int:
    try:
        return run_collector(load_collector_config(path, os.environ), click.echo, lambda: EARLY_STOP.asked)
    except BadSettings as bad:
        log.error("%s", bad)
        return Exit.CONFIG
    except CannotStart as error:
        log.error("%s", error)
        log.debug("where it came from", exc_info=error)
        return error.code
