"""The command. Each subcommand lives in its own module and is imported only when it is called:
a daemon must not carry what draws tables."""

import sys
from importlib import import_module

import click

from .. import __version__
from ..model.exits import Exit
from .early_stop import EARLY_STOP

SUBCOMMANDS = {
    "daemon": "run the host process",
    "collector": "run the central process",
    "usage": "ask a collector who used what",
    "rate": "ask a collector what usage costs, or would cost",
    "catalogue": "check, show and publish price lists",
    "period": "list, close and seal billing periods",
    "resolve": "say whose unattributed time was",
    "explain": "put all that is known of a dispute into one file, or check such a file",
    "export": "write usage and charges for other systems",
    "status": "ask the daemon of this host how it is",
    "demo": "see the main job on simulated GPUs",
    "simulate": "rehearse incidents on simulated hosts, or prove a deployment with a simulated fleet",
    "rules": "how cgroup paths and processes resolve",
    "config": "check or show a configuration",
    "pki": "make certificates for hosts and collectors",
    "log": "look into a write-ahead log",
    "ledger": "back up and restore a collector's ledger",
    "verify": "check what a ledger holds against its hosts' chains and signatures",
}


EXTRAS = {"collector": "collector", "demo": "collector,simulator", "pki": "pki", "simulate": "simulator"}
"""What a command needs beyond the plain install."""


SERVICES = ("daemon", "collector")
"""They end well when they are told to, even if that is before they are ready."""


class LazyGroup(click.Group):
    """Knows the names of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        if cmd_name in SERVICES:
            EARLY_STOP.listen()
        try:
            command: click.Command = import_module(f".{cmd_name}", __package__).command
        except ModuleNotFoundError as missing:
            if (missing.name or "").startswith("gputally"):
                raise
            needs = f"`gputally {cmd_name}` needs the package {missing.name}"
            click.echo(f"{needs}: pip install 'gputally[{EXTRAS.get(cmd_name, 'dev')}]'", err=True)
            sys.exit(Exit.UNAVAILABLE)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


def entry() -> None:
    """What the installed script calls: no traceback where the output cannot be written."""
    try:
        try:
            main(prog_name="gputally")
        finally:
            sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'standard output'}: {error.strerror}\n")
        # Python would try to write the same output again, and complain again.
        sys.stdout = None
        sys.exit(Exit.IO)


@click.command(cls=LazyGroup)
@click.version_option(__version__, prog_name="gputally")
def main() -> None:
    """Who used what GPU, and for how long, so exactly that money can rest on it."""
