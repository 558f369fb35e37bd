"""``gputally log``: the write-ahead log of a host, looked into from outside, its daemon running or not."""

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from ..model.exits import Exit
from ..plugins.signing_key import BadSigningKey, load_key_file, make_key_file, write_key_file
from ..storage.wal_errors import CURE_DAMAGE, NotALog
from ..storage.wal_offline import look, verify
from ..storage.wal_state import LogStat
from ..storage.wal_stream import FRAMES, frames_at, open_salvage, save, words_of_loss
from .log_dump import json_of, line_of
from .log_signatures import check_signatures
from .trusted_keys import NO_CHECK, load_check


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
    """Check every page, hash and link of the log at PATH; its daemon must have stopped.

    Exit 74 if it is damaged, 69 if a daemon has it.

    Signatures are checked where the package cryptography is installed; exit 1 if one is forged.
    """
    try:
        problems = list(verify(path))
        forged, signed = ([], "") if problems else _signatures(path)
    except NotALog as error:
        _exit(str(error), error.exit_code)
    if problems:
        _exit("\n".join([*problems, f"{path} is damaged: {CURE_DAMAGE}"]), Exit.IO)
    if forged:
        _exit("\n".join([*forged, f"{path}: somebody else than this host's daemon wrote in it"]), Exit.BROKEN)
    click.echo(f"{path}: whole; {signed}")


@command.command(name="new-key")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--rotate", is_flag=True, help="Put a new key in the place of the one there, introduced by it.")
def new_key(path: Path, rotate: bool) -> None:
    """Make the key that signs this host's log (log.signing_key) at PATH, mode 0400, and show its public key.

    A daemon that runs takes a rotated key up by itself within some minutes. See docs/signing.md.
    """
    try:
        file = load_key_file(path).succeeded() if rotate else make_key_file()
        write_key_file(path, file, replace=rotate)
    except BadSigningKey as error:
        _exit(str(error), Exit.CONFIG)
    click.echo(f"key id      {file.own.key_id.hex()}\npublic key  {file.own.public_key.hex()}")


def _signatures(path: Path) -> tuple[list[str], str]:
    check = load_check()
    return ([], NO_CHECK) if check is None else check_signatures(path, check)


@command.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a frame, with all that it says.")
def dump(path: Path, as_json: bool) -> None:
    """What the frames at PATH say: a log's folder, damaged or not, or what `salvage` wrote. Exit 74 if any is lost."""
    lost: list[str] = []
    try:
        for frame in frames_at(path, lost):
            click.echo(json_of(frame) if as_json else line_of(frame))
    except NotALog as error:
        _exit(str(error), Exit.NO_INPUT)
    if lost:
        _exit("lost: " + ", ".join(lost), Exit.IO)


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
        if lost := words_of_loss(salvaged):
            _exit("lost: " + ", ".join(lost), Exit.IO)


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
