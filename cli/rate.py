"""``gputally rate``: what usage costs, by a price list of the ledger or by one in a file that nobody published yet."""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import click

from ..collector.catalogue_file import load_catalogue, parse_json
from ..collector.instants import parse_instant
from ..collector.rated_lines import to_text
from ..collector.rated_local import describe_local, rate_answer, sums_parameters
from ..model.catalogue import Catalogue
from ..model.catalogue_read import read_catalogue
from ..model.exits import Exit
from ..model.rating import Rating
from ..model.settings import BadSettings
from .asking import Collector, NoAnswer, read_token

Answer = dict[str, Any]
_RATED: Final = ("rating", "catalogue", "completeness")
_SUMS: Final = ("items", "as_of", "completeness")
_LISTED: Final = ("items",)
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)
_FILES: Final = (".toml", ".json")


@click.command()
@click.option("--collector", "url", default="http://127.0.0.1:8080", show_default=True, help="Its API.")
@click.option("--catalogue", "--catalog", "catalogue", help="A version in the ledger, or a file (.toml, .json).")
@click.option("--beside", help="Another version or file, for a dry run beside it.")
@click.option("--period", help="A UTC month such as 2026-10; or give --from and --to.")
@click.option("--from", "range_from", help="RFC 3339.")
@click.option("--to", "range_to", help="RFC 3339; not part of the range.")
@click.option("--as-of", help="Log id: the ledger as it was then.")
@click.option("--strict", is_flag=True, help="Refuse rather than charge for less than there was.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File of the token; or set GPUTALLY_TOKEN.")
@click.option("--json", "as_json", is_flag=True, help="As the API answers.")
def command(
    url: str,
    catalogue: str | None,
    beside: str | None,
    period: str | None,
    range_from: str | None,
    range_to: str | None,
    as_of: str | None,
    strict: bool,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show what usage costs. Exit codes: 65 the collector refused, 66 a file is no price list, 69 no answer."""
    asked = _range(period, range_from, range_to) | ({"as_of": as_of} if as_of else {})
    asked |= {"strict": "true"} if strict else {}
    try:
        told = rated(Collector(url, read_token(token_file)), asked, catalogue, beside)
    except NoAnswer as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)
    click.echo(json.dumps(told, indent=2, ensure_ascii=False) + "\n" if as_json else to_text(told), nl=False)


def rated(collector: Collector, asked: dict[str, str], catalogue: str | None, beside: str | None) -> Answer:
    """By the collector where it knows both price lists, else here, by its sums. Raises NoAnswer."""
    if not any(_is_file(name) for name in (catalogue, beside)):
        chosen = {"catalogue": catalogue, "beside": beside}
        return collector.get("/v1/rated", asked | {name: v for name, v in chosen.items() if v is not None}, _RATED)
    if catalogue is None:
        raise click.UsageError("--beside FILE needs --catalogue: beside which?")
    first = _find(collector, catalogue)
    sums, rating = _rate(collector, asked, first)
    other = None
    if beside is not None:
        second = _find(collector, beside)
        if second.currency != first.currency:
            raise click.BadParameter(f"is in {second.currency}, not {first.currency}", param_hint="--beside")
        other = _rate(collector, asked | {"as_of": str(sums["as_of"])}, second)[1]
    return describe_local(sums, first, rating, other)


def _rate(collector: Collector, asked: dict[str, str], catalogue: Catalogue) -> tuple[Answer, Rating]:
    answer = collector.get("/v1/rated/sums", asked | sums_parameters(catalogue), _SUMS)
    return answer, rate_answer(answer, catalogue)


def _find(collector: Collector, name: str) -> Catalogue:
    """Raises NoAnswer for a file that is no price list, and for a version that the ledger has not."""
    try:
        if _is_file(name):
            return load_catalogue(Path(name))
        listed = collector.get("/v1/catalogues", {"limit": "1000"}, _LISTED)
        for item in listed["items"]:
            if item["version"] == name:
                return read_catalogue(parse_json(item["body"]), "ledger", parse_instant)
    except BadSettings as bad:
        raise NoAnswer(Exit.NO_INPUT, str(bad)) from None
    raise NoAnswer(Exit.REFUSED, f"the ledger has no catalogue {name}")


def _is_file(name: str | None) -> bool:
    return name is not None and name.endswith(_FILES)


def _range(period: str | None, range_from: str | None, range_to: str | None) -> dict[str, str]:
    if period is None and range_from and range_to:
        return {"range_from": range_from, "range_to": range_to}
    found = _MONTH.fullmatch(period or "")
    if found is None or range_from or range_to:
        raise click.UsageError("give --period YYYY-MM, or both --from and --to")
    year, month = int(found[1]), int(found[2])
    later = (year + 1, 1) if month == 12 else (year, month + 1)
    return {"range_from": f"{year:04}-{month:02}-01T00:00:00Z", "range_to": f"{later[0]:04}-{later[1]:02}-01T00:00:00Z"}
