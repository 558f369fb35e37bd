"""``gputally resolve``: time that belongs to nobody gets a tenant, once somebody knows whose it was."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from ..collector.rounding import hours
from ..model.exits import Exit
from ..model.workload import UNATTRIBUTED
from .asking import Collector, NoAnswer, read_token
from .month import edges, take_period

_PAGE: Final = "1000"
_SCALE: Final = 2
_MOST_LINES: Final = 50


@dataclass(slots=True)
class Pile:
    """Unattributed records of one workload on one host, and why they are."""

    records: int = 0
    allocated_ns: int = 0


Piles = dict[tuple[str, str, str], Pile]
"""By host, workload and reason."""


@click.command()
@click.option("--collector", "url", default="http://127.0.0.1:8080", show_default=True, help="Its API.")
@click.option("--from", "start", required=True, help="RFC 3339.")
@click.option("--to", "end", required=True, help="RFC 3339; not part of the range.")
@click.option("--host", help="Only time on this host.")
@click.option("--workload", help="Only that of this workload, kind:id as the records say it.")
@click.option("--tenant", required=True, help="Whose it was.")
@click.option("--project", default="", help="And of which project.")
@click.option("--why", required=True, help="In words; kept with it for ever.")
@click.option("--yes", is_flag=True, help="Decide it. Without, it is only shown what would be.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File of an operator's token; or GPUTALLY_TOKEN.")
def command(
    url: str, start: str, end: str, tenant: str, project: str, why: str, yes: bool, token_file: Path | None, **of: Any
) -> None:
    """Give unattributed time to a tenant, by a correction that lies over the records and can be lifted.

    Shows what there is, and decides only with --yes. Exit codes: 65 the collector refused, 66 nothing there is
    unattributed, 69 the collector does not answer.
    """
    asked = edges(take_period(None, start, end))
    picked = {name: value for name, value in of.items() if value is not None}
    try:
        collector = Collector(url, read_token(token_file))
        piles = _piles(_unattributed(collector, asked, picked))
        click.echo("\n".join(_table(piles)))
        if piles and yes:
            decided = {"do": "reassign", "tenant": UNATTRIBUTED, "to_tenant": tenant, "to_project": project, "why": why}
            click.echo(_decide(collector, {**asked, **picked, **decided}))
    except NoAnswer as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)
    if not piles:
        sys.exit(Exit.NO_INPUT)
    if not yes:
        click.echo(f"nothing was decided: --yes gives it to {tenant}")


def _unattributed(collector: Collector, asked: dict[str, str], picked: dict[str, str]) -> Iterator[dict[str, Any]]:
    told = {"range_from": asked["from"], "range_to": asked["to"], "limit": _PAGE, **picked}
    while True:
        page = collector.get("/v1/records", told, ("items", "next"))
        yield from (item for item in page["items"] if item["org"] == UNATTRIBUTED)
        if page["next"] is None:
            return
        told["after"] = page["next"]


def _piles(records: Iterator[dict[str, Any]]) -> Piles:
    piles: Piles = defaultdict(Pile)
    for record in records:
        pile = piles[record["host"], record["workload"], record["reason"]]
        pile.records += 1
        pile.allocated_ns += int(record["allocated_ns"])
    return piles


def _table(piles: Piles) -> Iterator[str]:
    """The largest first."""
    largest = sorted(piles.items(), key=lambda each: (-each[1].allocated_ns, each[0]))
    for (host, workload, reason), pile in largest[:_MOST_LINES]:
        amount = hours(pile.allocated_ns, _SCALE)
        yield f"{amount:>12} h  {pile.records:>7} records  {host}  {workload}  {reason}".rstrip()
    if len(largest) > _MOST_LINES:
        yield f"and {len(largest) - _MOST_LINES} smaller ones"
    total_ns, records = (sum(getattr(pile, name) for pile in piles.values()) for name in ("allocated_ns", "records"))
    yield f"{hours(total_ns, _SCALE):>12} h  {records:>7} records  unattributed"


def _decide(collector: Collector, body: dict[str, str]) -> str:
    made = collector.post("/v1/corrections", json.dumps(body).encode(), ("log_ids", "records"))
    project = f", project {body['to_project']}" if body["to_project"] else ""
    return f"{made['records']} records are {body['to_tenant']}'s{project} now (log ids {', '.join(made['log_ids'])})"
