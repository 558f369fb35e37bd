"""``gputally simulate``: what would come of a host on which everything goes wrong, without a host."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import click

from ..model.exits import Exit
from ..model.interval import NS_PER_HOUR, NS_PER_S
from ..simulator.seeds.controls import CONTROLS
from ..simulator.seeds.runs import Length, Outcome, be_quiet, run_seed, run_seeds
from ..simulator.seeds.script import Kind
from ..simulator.seeds.words import describe
from .simulate_fleet import fleet_options, simulate_fleet

MOST_TOLD = 10
"""Violations of one seed that are printed; the rest is counted."""


@click.group(invoke_without_command=True)
@fleet_options
@click.pass_context
def command(ctx: click.Context, /, **told: Any) -> None:
    """Rehearse incidents on simulated hosts; or, with --hosts, prove a deployment.

    With --hosts so many simulated hosts stream to a real collector, as real ones would, and
    what its API then answers is compared with the truth. See docs/fleet.md.
    """
    if ctx.invoked_subcommand is not None:
        if told["hosts"] is not None:
            raise click.UsageError(f"--hosts is of a fleet, and {ctx.invoked_subcommand} is none")
        return
    if told["hosts"] is None:
        raise click.UsageError("give a command, or --hosts for a fleet")
    simulate_fleet(told)


@command.command()
@click.option("--seeds", "count", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--first", default=1, show_default=True, help="The first seed.")
@click.option("--minutes", type=click.IntRange(10), help="Simulated time of each seed.  [default: 30]")
@click.option("--hours", type=click.IntRange(1), help="The same in hours.")
@click.option("--cadence", type=click.FloatRange(0.5, 60), help="Seconds between readings; drawn, if not given.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([str(kind) for kind in Kind]),
    help="A kind of fault; all, if none is given.",
)
@click.option("--without", type=click.Choice(list(CONTROLS)), help="Switch a protection off: seeds must then fail.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="Processes at once.")
@click.option("--twice", is_flag=True, help="Run each seed twice and compare the traces.")
@click.option("--tell", is_flag=True, help="Tell each script in words.")
def seeds(
    count: int,
    first: int,
    minutes: int | None,
    hours: int | None,
    cadence: float | None,
    only: tuple[str, ...],
    without: str | None,
    jobs: int,
    twice: bool,
    tell: bool,
) -> None:
    """Run the daemon on a virtual clock, with faults drawn from each seed, against an oracle.

    Each seed is a script: processes on GPUs, and five faults or more. The ledger
    that comes of it is compared with what was so, and audited. See docs/simulation.md.
    """
    if cadence is not None and cadence != cadence:
        raise click.BadOptionUsage("cadence", "--cadence must be a number from 0.5 to 60")
    if minutes is not None and hours is not None:
        raise click.BadOptionUsage("hours", "give --minutes or --hours, not both")
    asked = Asked(Length(hours * 60 if hours else minutes or 30, cadence), tuple(map(Kind, only)), without)
    be_quiet()
    begin_s, totals = time.monotonic(), Totals()
    for outcome in run_seeds(range(first, first + count), asked.length, jobs, asked.kinds, without):
        problems = list(outcome.violations)
        if twice and run_seed(outcome.seed, asked.length, asked.kinds, without).trace_hash != outcome.trace_hash:
            problems.append("the same seed gave another trace")
        totals.add(outcome, bool(problems))
        if problems or tell:
            _tell(outcome, problems, asked)
    totals.show(time.monotonic() - begin_s)
    sys.exit(Exit.SOFTWARE if totals.failed else Exit.OK)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, but for which seeds."""

    length: Length
    only: tuple[Kind, ...]
    without: str | None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return self.only or tuple(Kind)

    def again(self, seed: int) -> str:
        """The command that runs one seed again."""
        options = [f"--minutes {self.length.minutes}"]
        options += [f"--cadence {self.length.cadence_s:g}"] if self.length.cadence_s else []
        options += [f"--only {kind}" for kind in self.only]
        options += [f"--without {self.without}"] if self.without else []
        return f"gputally simulate seeds --seeds 1 --first {seed} {' '.join(options)} --tell"


def _tell(outcome: Outcome, problems: list[str], asked: Asked) -> None:
    for line in describe(asked.length.script(outcome.seed, asked.kinds)):
        click.echo(line)
    for problem in problems[:MOST_TOLD]:
        click.echo(f"  VIOLATION: {problem}")
    if len(problems) > MOST_TOLD:
        click.echo(f"  and {len(problems) - MOST_TOLD} more")
    click.echo(f"  trace {outcome.trace_hash or '-'}; again: {asked.again(outcome.seed)}")


@dataclass(slots=True)
class Totals:
    """Of all seeds."""

    seeds: int = 0
    failed: int = 0
    ticks: int = 0
    frames: int = 0
    compared: int = 0
    exact: int = 0
    device_ns: int = 0
    inferred_ns: int = 0
    cpu_ns: int = 0
    unobserved_ns: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])

    def add(self, outcome: Outcome, failed: bool) -> None:
        self.seeds += 1
        self.failed += failed
        for name in ("ticks", "frames", "compared", "exact", "device_ns", "inferred_ns", "cpu_ns"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.unobserved_ns.update(outcome.unobserved_ns)
        self.faults.update(outcome.faults)

    def show(self, took_s: float) -> None:
        click.echo(
            f"{self.seeds} seeds in {took_s:.0f} s ({self.cpu_ns / NS_PER_S:.0f} s of CPU): {self.failed} failed"
        )
        click.echo(f"{self.ticks} ticks, {self.frames} frames, {self.device_ns / NS_PER_HOUR:.0f} device hours")
        share = 100 * self.exact / max(self.compared, 1)
        click.echo(f"{self.compared} shares compared with the truth: {share:.1f} % exact to the nanosecond")
        click.echo(f"inferred {self.inferred_ns / NS_PER_HOUR:.2f} h; unobserved {_hours(self.unobserved_ns)}")
        click.echo(f"{self.faults.total()} faults: {_counts(self.faults)}")


def _hours(lengths_ns: Counter[str]) -> str:
    return ", ".join(f"{reason} {ns / NS_PER_HOUR:.2f} h" for reason, ns in lengths_ns.most_common()) or "nothing"


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
