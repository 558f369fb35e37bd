"""How a simulated fleet shows itself: a bar for people, a line now and then for logs, sums at the end."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import click

from ..model.interval import NS_PER_HOUR
from ..simulator.fleet.fleet import Outcome
from ..simulator.fleet.plan import FleetPlan
from ..simulator.fleet.tally import Tally, percentile_ms
from ..simulator.fleet.truth import Difference

_LINE_EVERY_S: Final = 5.0
_MOST_SHOWN: Final = 20


@contextmanager
def progress(plan: FleetPlan) -> Generator[Callable[[Tally], None]]:
    """On standard error: what is on standard output is the result alone."""
    click.echo(
        f"{plan.hosts} hosts {plan.host_id(0)} to {plan.host_id(plan.hosts - 1)}, {plan.gpus} GPUs each, "
        f"{plan.windows} windows of {plan.window_ns // 1_000_000_000} s",
        err=True,
    )
    if not sys.stderr.isatty():
        yield _Lines(plan).tell
        return
    # Imported here: simulated hosts in a container's job log do not need it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(30), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=plan.hosts * plan.windows)
        yield lambda tally: bar.update(task, completed=tally.frames, description=_in_words(tally))


class _Lines:
    def __init__(self, plan: FleetPlan) -> None:
        self._frames, self._told_s = plan.hosts * plan.windows, time.monotonic()

    def tell(self, tally: Tally) -> None:
        if time.monotonic() - self._told_s >= _LINE_EVERY_S:
            self._told_s = time.monotonic()
            click.echo(f"{100 * tally.frames // self._frames} %: {_in_words(tally)}", err=True)


def show_outcome(plan: FleetPlan, outcome: Outcome, *, live: bool) -> None:
    tally = outcome.tally
    allocated_ns = outcome.truth.allocated.total()
    click.echo(f"sent:         {tally.frames_sent} frames, {tally.records_sent} records")
    click.echo(
        f"acknowledged: {tally.frames} frames, {tally.records} records, "
        f"{allocated_ns} GPU-ns allocated ({allocated_ns / NS_PER_HOUR:.2f} GPU-hours)"
    )
    click.echo(
        f"hosts:        {tally.hosts_done} of {plan.hosts} said all, over {tally.opened} streams, "
        f"at most {tally.most_streams} at once, {tally.retries} tried again"
    )
    click.echo(f"took:         {outcome.took_s:.1f} s, {tally.records / outcome.took_s:,.0f} records/s")
    if live and tally.delays_ms:
        told = ", ".join(f"p{percent} {percentile_ms(tally.delays_ms, percent)} ms" for percent in (50, 95, 99, 100))
        click.echo(f"window's end to acknowledgement: {told}")
    if outcome.stopped:
        click.echo(f"stopped:      {outcome.stopped}")
    for title, reasons in (("tried again", tally.trouble), ("REFUSED", tally.refused)):
        for why, count in reasons.most_common():
            click.echo(f"{title}: {count} x {why}")
    if tally.rejected:
        click.echo(f"REJECTED:     {tally.rejected} frames")


def show_differences(differences: list[Difference], hosts: list[str]) -> None:
    """Where the answer is not the truth."""
    click.echo(f"NOT EQUAL: {len(differences)} sums of the API are not the truth")
    for each in differences[:_MOST_SHOWN]:
        tenant, model = each.key
        off_ns = each.answered_ns - each.truth_ns
        click.echo(
            f"  {each.meter} {tenant} {model}: truth {each.truth_ns} ns, answer {each.answered_ns} ns ({off_ns:+d})"
        )
    if len(differences) > _MOST_SHOWN:
        click.echo(f"  and {len(differences) - _MOST_SHOWN} more")
    if hosts:
        more = f" and {len(hosts) - _MOST_SHOWN} more" if len(hosts) > _MOST_SHOWN else ""
        click.echo(f"  hosts whose allocated time is not the truth: {', '.join(hosts[:_MOST_SHOWN])}{more}")


def _in_words(tally: Tally) -> str:
    again = f", {tally.retries} tried again" if tally.retries else ""
    refused = f", {tally.refused.total()} refused" if tally.refused else ""
    return f"{tally.streams} streams, {tally.frames} frames, {tally.records} records acknowledged{again}{refused}"
