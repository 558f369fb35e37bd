"""``gputally period``: the billing periods of a ledger, closed and sealed through its collector."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from .asking import Collector, NoAnswer, read_token
from .month import edges, take_period

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., None])
Answer = dict[str, Any]
_PAGE: Final = "1000"
_LISTED: Final = ("items", "total_count")
_SEALING_S: Final = 6 * 3600.0
"""A seal walks over every record of its period."""


@click.group()
def command() -> None:
    """Billing periods: open, provisional, final, sealed. See docs/periods.md.

    Exit codes: 65 the collector refused, and says why; 69 it does not answer.
    """


def _asking(what: Command) -> Command:
    for option in (
        click.option("--token-file", type=click.Path(path_type=Path), help="File of the token; or GPUTALLY_TOKEN."),
        click.option("--collector", "url", default="http://127.0.0.1:8080", show_default=True, help="Its API."),
    ):
        what = option(what)
    return what


def _of_period(what: Command) -> Command:
    for option in (
        click.option("--to", "end", help="RFC 3339; not part of the period."),
        click.option("--from", "start", help="RFC 3339."),
        click.option("--zone", default="UTC", show_default=True, help="IANA zone whose month it is."),
        click.option("--period", help="A month such as 2026-10; or give --from and --to."),
    ):
        what = option(what)
    return what


_why: Final = click.option("--why", required=True, help="In words; kept with it for ever.")
_as_json: Final = click.option("--json", "as_json", is_flag=True, help="As the API answers.")


@command.command("list")
@_as_json
@_asking
def list_command(url: str, token_file: Path | None, as_json: bool) -> None:
    """Every period that was closed or sealed, the latest first."""
    items = _answered(lambda: list(_all(Collector(url, read_token(token_file)))))
    if as_json:
        click.echo(json.dumps(items, indent=2))
        return
    for item in items:
        click.echo(_line(item))


@command.command()
@_of_period
@_as_json
@_asking
def show(
    period: str | None, zone: str, start: str | None, end: str | None, url: str, token_file: Path | None, as_json: bool
) -> None:
    """The state of one period, what it waits for, and its seal."""
    asked = edges(take_period(period, start, end, zone))
    collector = _answered(lambda: Collector(url, read_token(token_file)))
    told: Answer = _answered(lambda: collector.get("/v1/periods", {**asked, "limit": "1"}, ("range",)))["range"]
    sealed = told["state"] == "sealed"
    seal = _answered(lambda: _seal(collector, asked)) if sealed else None
    click.echo(json.dumps({**told, **(seal or {})}, indent=2) if as_json else "\n".join(_shown(told, seal)))


@command.command()
@_of_period
@_why
@_asking
def close(
    period: str | None, zone: str, start: str | None, end: str | None, why: str, url: str, token_file: Path | None
) -> None:
    """Close a period: refused, with host and interval, while something of it is missing."""
    asked = edges(take_period(period, start, end, zone))
    made = _posted(url, token_file, "close", {**asked, "zone": zone, "why": why})
    click.echo(f"closed {asked['from']} to {asked['to']} (log id {made['log_id']}), zone data {made['zone_data']}")


@command.command()
@_of_period
@_why
@_asking
def seal(
    period: str | None, zone: str, start: str | None, end: str | None, why: str, url: str, token_file: Path | None
) -> None:
    """Seal a closed period: from then on nothing of it changes, and each of its records can be proven."""
    asked = edges(take_period(period, start, end, zone))
    made = _posted(url, token_file, "seal", {**asked, "why": why})
    unsigned = "" if made["signed"] else ", NOT signed: the collector has no ledger.signing_key"
    click.echo(f"sealed {asked['from']} to {asked['to']} (log id {made['log_id']}){unsigned}")
    click.echo(f"root {made['root']} over {made['leaves']} leaves")


def _posted(url: str, token_file: Path | None, what: str, body: Mapping[str, str]) -> Answer:
    raw = json.dumps(body).encode()
    return _answered(
        lambda: Collector(url, read_token(token_file), _SEALING_S).post(f"/v1/periods/{what}", raw, ("log_id",))
    )


def _answered(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except NoAnswer as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)


def _all(collector: Collector) -> Iterator[Answer]:
    offset = 0
    while True:
        page = collector.get("/v1/periods", {"offset": str(offset), "limit": _PAGE}, _LISTED)
        yield from page["items"]
        offset += len(page["items"])
        if not page["items"] or offset >= page["total_count"]:
            return


def _seal(collector: Collector, asked: dict[str, str]) -> Answer | None:
    """None: it is sealed as a part of another period, or of several."""
    page = next((item for item in _all(collector) if {name: item[name] for name in asked} == asked), None)
    return None if page is None else page["sealed"]


def _line(item: Answer) -> str:
    root = f"  {item['sealed']['root']}" if item["sealed"] else ""
    return f"{item['from']}  {item['to']}  {item['state']}{root}"


def _shown(told: Answer, seal: Answer | None) -> Iterator[str]:
    yield f"{told['from']} to {told['to']}: {told['state']}"
    for each in told.get("missing", ()):
        why = f" ({each['why']})" if each.get("why") else ""
        yield f"  waits for  {each['host'] or 'any host'} from {each['from']} to {each['to']}{why}"
    if seal is not None:
        yield f"  sealed     at log entry {seal['log_id']} as of {seal['as_of']}"
        yield f"  root       {seal['root']} over {seal['leaves']} leaves"
        yield f"  signed     {'by key ' + seal['key_id'] if seal['signed'] else 'no'}"
