"""How the demo shows itself to a person."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .demo import Outcome

NS_PER_S = 1_000_000_000

NEXT = """\
[bold]Where to go next[/]
  README.md             install it on a GPU host, point it at a collector
  docs/attribution.md   teach it whose containers, jobs and users are whose
  docs/simulator.md     rehearse your own incidents on simulated GPUs
  ARCHITECTURE.md       follow one reading from the driver to this table"""


@contextmanager
def progress() -> Generator[Callable[[float, str], None]]:
    """A bar for people; lines without colours where nobody watches."""
    columns = (BarColumn(30), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("", total=1.0)

        def tell(done: float, what: str) -> None:
            bar.update(task, completed=done, description=what)

        yield tell


def show(outcome: Outcome) -> None:
    console = Console()
    console.print(_usage(outcome))
    console.print(_conservation(outcome))
    console.print(_against_truth(outcome))
    console.print(_verdict(outcome))
    console.print(NEXT)


def _usage(outcome: Outcome) -> Table:
    table = Table(title="GPU-hours per tenant and GPU model (GET /v1/usage)", title_justify="left")
    for name in ("SKU", "GPU model", "tenant"):
        table.add_column(name)
    for name in ("GPU-hours", "exact ns"):
        table.add_column(name, justify="right")
    for item in outcome.usage["items"]:
        for org in item["orgs"]:
            table.add_row(item["sku"], item["gpu_model"], org["org"], org["usage"], org["ns"])
        table.add_row(item["sku"], item["gpu_model"], "[bold]all", item["total"]["usage"], item["total"]["ns"])
        table.add_section()
    return table


def _conservation(outcome: Outcome) -> Table:
    title = "Time of each device in ns, and what is left over (GET /v1/conservation)"
    table = Table(title=title, title_justify="left")
    table.add_column("device", no_wrap=True)
    for name in ("allocated", "idle", "unobserved", "existed", "left over"):
        table.add_column(name, justify="right", no_wrap=True)
    for device in outcome.conservation["devices"]:
        unobserved_ns = sum(map(int, device["unobserved"].values()))
        parts = int(device["allocated_ns"]), int(device["idle_ns"]), unobserved_ns
        existed_ns = int(device["existed_ns"])
        table.add_row(device["device"].partition(":")[2][:8], *map(str, (*parts, existed_ns, existed_ns - sum(parts))))
    return table


def _against_truth(outcome: Outcome) -> Table:
    table = Table(title="Against what the workloads really did", title_justify="left")
    table.add_column("tenant", no_wrap=True)
    table.add_column("GPU model", no_wrap=True)
    for name in ("metered s", "true s", "off by ms", "allowed ms"):
        table.add_column(name, justify="right")
    for key in sorted(outcome.truth.keys() | outcome.metered.keys()):
        metered_ns, true_ns = outcome.metered.get(key, 0), outcome.truth.get(key, 0)
        shown = (f"{metered_ns / NS_PER_S:.3f}", f"{float(true_ns) / NS_PER_S:.3f}")
        off_ms, allowed_ms = float(metered_ns - true_ns) / 1e6, outcome.allowed_ns.get(key, 0) / 1e6
        table.add_row(*key, *shown, f"{off_ms:+.1f}", f"{allowed_ms:.1f}")
    return table


def _verdict(outcome: Outcome) -> str:
    exact = "[green]exact to the nanosecond[/]" if outcome.exact else "[red]NOT exact[/]"
    true = "[green]within the stated uncertainty[/]" if outcome.truthful else "[red]NOT within what was stated[/]"
    return f"Conservation per device: {exact}.  Each tenant's share: {true}.\n"
