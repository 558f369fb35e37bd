"""``gputally demo``: the main job on simulated GPUs, in under a minute."""

import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import click

from ..model.exits import Exit
from ..simulator import demo, demo_report, driver, stack


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Work in this new folder and leave everything there.")
def command(keep: Path | None) -> None:
    """See GPUs sampled, processes attributed, usage buffered, streamed, and GPU-hours come out."""
    try:
        with _folder(keep) as folder, demo_report.progress() as progress:
            outcome = demo.run(folder, progress)
    except (driver.DriverBuildError, stack.NotReady) as error:
        click.echo(f"the demo cannot run: {error}", err=True)
        sys.exit(Exit.UNAVAILABLE)
    demo_report.show(outcome)
    sys.exit(Exit.OK if outcome.exact and outcome.truthful else Exit.SOFTWARE)


@contextmanager
def _folder(keep: Path | None) -> Generator[Path]:
    if keep is not None:
        if keep.exists():
            raise click.BadParameter(f"{keep} is there already: name a new folder", param_hint="--keep")
        try:
            keep.mkdir(parents=True)
        except OSError as error:
            raise click.BadParameter(f"{keep} cannot be made: {error.strerror}", param_hint="--keep") from None
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="gputally-demo-") as folder:
        yield Path(folder)
