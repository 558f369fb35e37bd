"""``gputally log``: the write-ahead log of a host, looked into from outside, its daemon running or not."""

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from ..model.exits import Exit
from ..storage.wal_errors import CURE_DAMAGE, NotALog
from ..storage.wal_offline import look, verify
from ..storage.wal_state import LogStat
from ..storage.wal_stream import FRAMES, frames_at, open_salvage, save
from .log_dump import json_of, line_of


@click.group()
def command() -> None:
    """Look into a write-ahead log, its daemon running or not."""


@command.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as in `gputally status --json`.")
def stat(path: Path, as_json: bool) -> None:
    """How many frames wait in the log at PATH, and how much of it they take."""
    try:
        found = look(path)
    except NotALog as error:
        _exit(str(error), Exit.NO_INPUT)
    click.echo(json.dumps(describe(found)) if as_json else _table(found))


@command.command(name="verify")
@click.argument("path", type=click.Path(path_type=Path))
def verify_command(path: Path) -> None:
    """Check every page, hash and link of the log at PATH; its daemon must have stopped. Exit 74 if it is damaged."""
    try:
        problems = list(verify(path))
    except NotALog as error:
        _exit(str(error), Exit.NO_INPUT)
    if problems:
        _exit("\n".join([*problems, f"{path} is damaged: {CURE_DAMAGE}"]), Exit.IO)
    click.echo(f"{path}: whole")


@command.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a frame, with all that it says.")
def dump(path: Path, as_json: bool) -> None:
    """What the frames at PATH say: a log's folder, damaged or not, or what `salvage` wrote."""
    try:
        for frame in frames_at(path):
            click.echo(json_of(frame) if as_json else line_of(frame))
    except NotALog as error:
        _exit(str(error), Exit.NO_INPUT)


@command.command(name="salvage")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path), help="A folder; nothing is overwritten."
)
def salvage_command(path: Path, folder: Path) -> None:
    """Write all frames that can be read of the log at PATH to a file `frames`. Exit 74 if any is lost.

    What the log held when its daemon last committed; better not while that runs.
    """
    try:
        salvaged = open_salvage(path)
    except NotALog as error:
        _exit(str(error), Exit.NO_INPUT)
    with closing(salvaged):
        try:
            count = save(salvaged, folder)
        except OSError as error:
            _exit(f"{folder} cannot be written: {error.strerror}", Exit.IO)
        click.echo(f"{count} frames of epoch {(salvaged.epoch or b'').hex() or '(unknown)'} in {folder / FRAMES}")
        click.echo(f"newest frame {salvaged.head_seq}, acknowledged through {salvaged.acked_seq}")
        lost = salvaged.lost()
        told = [f"{first} to {last}" for first, last in lost]
        if not salvaged.knows_head:
            told.append("perhaps frames behind the newest: the newest commit's own word is lost")
        if told:
            _exit("lost: " + ", ".join(told), Exit.IO)


def describe(found: LogStat) -> dict[str, Any]:
    """The ``log`` object of ``gputally status --json``."""
    return asdict(found) | {"epoch": found.epoch.hex()}


def _table(found: LogStat) -> str:
    used_percent = 100 * found.bytes // found.cap_bytes
    return "\n".join(
        (
            f"epoch      {found.epoch.hex()}",
            f"frames     {found.first_seq} to {found.last_seq}, acknowledged through {found.acked_seq}",
            f"waiting    {found.unacked_frames} frames, {found.unacked_records} usage records",
            f"refused    {found.rejected_frames} frames",
            f"used       {found.bytes} of {found.cap_bytes} bytes ({used_percent} %)",
        )
    )


def _exit(message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(exit_code)
