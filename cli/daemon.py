"""``gputally daemon``: the host process, in the foreground, and what a running one may be asked to do."""

import signal
import sys
from pathlib import Path
from typing import Any

import click

from ..model.exits import Exit
from .logging_setup import log_to_stderr
from .socket_asking import DEFAULT_SOCKET, NoDaemon, ask_daemon

CODES = {
    "done": Exit.OK,
    "not_yet": Exit.NOT_YET,
    "unknown": Exit.NO_INPUT,
    "refused": Exit.REFUSED,
    "forbidden": Exit.NO_PERMISSION,
    "bad": Exit.SOFTWARE,
}
RELEASE_WITHIN_S = 10.0
ANSWER_WITHIN_S = 75.0
"""A tick may be a minute and its deadline away."""

_socket = click.option(
    "--socket", "path", default=DEFAULT_SOCKET, show_default=True, help="The daemon's control socket."
)


@click.group(invoke_without_command=True)
@click.option("--config", "path", type=click.Path(path_type=Path), help="daemon.toml; without it: defaults.")
@click.option("--verbose", is_flag=True, help="Log what is only of use when something is wrong.")
@click.pass_context
def command(context: click.Context, path: Path | None, verbose: bool) -> None:
    """Run the host process until SIGTERM: sample, attribute, meter, keep, send.

    With a command: ask the one that runs. Root and the daemon's own user may.
    """
    if context.invoked_subcommand is not None:
        for number, action in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
            signal.signal(number, action)  # not those of a service
        return
    log_to_stderr(verbose)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # until the daemon listens to them they would end it
    from .daemon_run import run

    sys.exit(run(path))


@command.command
@_socket
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(0, 300),
    default=RELEASE_WITHIN_S,
    show_default=True,
    help="Seconds to wait until nothing has the driver open.",
)
def release(path: str, within_s: float) -> None:
    """Let go of the driver, so that it can be unloaded; metering of claims goes on, and all else.

    Every GPU is a gap `released` until `gputally daemon resume`. Exit codes: 0 nothing of the daemon
    has a GPU open, 75 not yet (ask again: the order stands), 69 no daemon, 77 not allowed.
    """
    if within_s != within_s:
        raise click.BadOptionUsage("within", "--within must be a number")
    click.echo(f"letting go of the driver, for up to {within_s:g} s", err=True)
    _ask(path, {"request": "release", "within_s": within_s}, within_s + ANSWER_WITHIN_S)


@command.command
@_socket
def resume(path: str) -> None:
    """Take the driver up again. Exit codes: 0 done, 69 no daemon, 77 not allowed."""
    _ask(path, {"request": "resume"}, ANSWER_WITHIN_S)


@command.command
@_socket
@click.argument("device_id")
def retire(path: str, device_id: str) -> None:
    """Say that the GPU DEVICE_ID, a UUID as `gputally status` shows it, will not come back: its time ends.

    Exit codes: 0 done, 65 refused since it can be read, 66 there is none of this id, 69 no daemon, 77 not allowed.
    """
    _ask(path, {"request": "retire", "device": device_id}, ANSWER_WITHIN_S)


def _ask(path: str, request: dict[str, Any], within_s: float) -> None:
    try:
        told = ask_daemon(path, request, within_s, on_wait=_show_wait)
    except NoDaemon as none:
        click.echo(str(none), err=True)
        sys.exit(Exit.UNAVAILABLE)
    code = CODES.get(told["outcome"], Exit.SOFTWARE)
    click.echo(told["words"], err=code is not Exit.OK)
    sys.exit(code)


def _show_wait(waited_s: float) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r  {waited_s:.0f} s ", err=True, nl=False)
