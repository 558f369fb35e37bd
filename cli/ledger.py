"""``gputally ledger``: a copy of the collector's ledger that can be trusted, and the way back from it."""

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

import click

from ..collector.loading import load_collector_config
from ..model.exits import Exit
from ..model.settings import BadSettings
from ..storage.ledger_backup import Manifest, back_up, restore
from ..storage.ledger_folder import LedgerBroken, LedgerError

_PATH = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Back up and restore a collector's ledger."""


@command.command(name="backup")
@click.argument("dest", type=_PATH)
@click.option("--config", "config", type=_PATH, help="The collector's file; without it: defaults.")
@click.option("--ledger", "folder", type=_PATH, help="The ledger's folder, in the place of ledger.path.")
def backup_command(dest: Path, config: Path | None, folder: Path | None) -> None:
    """Copy the ledger to the folder DEST, its collector running or not, and read all of the copy.

    Exit codes: 0 DEST is whole, 66 there is no ledger, or DEST is there already, 74 the disk is full or broken,
    or the ledger is damaged, 78 the configuration is wrong.
    """
    try:
        source = folder or Path(load_collector_config(config, os.environ).ledger.path)
    except BadSettings as bad:
        _exit(str(bad), Exit.CONFIG)
    try:
        manifest = back_up(source, dest, time.time_ns())
    except LedgerError as error:
        _exit(str(error), _code(error))
    click.echo(f"{dest}: {_words(manifest)}")


@command.command(name="restore")
@click.argument("source", type=_PATH)
@click.option("--to", "folder", required=True, type=_PATH, help="The new ledger's folder; nothing is overwritten.")
def restore_command(source: Path, folder: Path) -> None:
    """Make a ledger's folder of the backup SOURCE, for a collector that is started on it afterwards.

    It builds its projection anew, and hosts say again what they still hold. Exit codes as of `backup`.
    """
    try:
        manifest = restore(source, folder)
    except LedgerError as error:
        _exit(str(error), _code(error))
    click.echo(f"{folder}: {_words(manifest)}")


def _words(manifest: Manifest) -> str:
    return f"ledger {manifest.ledger_id} through entry {manifest.last_log_id}, digest {manifest.digest}"


def _code(error: LedgerError) -> Exit:
    return Exit.IO if isinstance(error, LedgerBroken) else Exit.NO_INPUT


def _exit(message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(exit_code)
