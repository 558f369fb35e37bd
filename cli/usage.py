"""``gputally usage``: who used what, asked of a collector."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from .asking import Collector, NoAnswer, read_token

Row = tuple[str, ...]
_PAGE = "1000"
_GROUP_BY = "sku,gpu_model,org"
"""The API's default."""


@click.command()
@click.option("--collector", "url", default="http://127.0.0.1:8080", show_default=True, help="Its API.")
@click.option("--from", "range_from", required=True, help="RFC 3339, such as 2025-06-01T00:00:00Z.")
@click.option("--to", "range_to", required=True, help="RFC 3339; not part of the range.")
@click.option("--group-by", help="sku,gpu_model,org,project,workload,host,device: any of them.")
@click.option("--window", help="none, minute, hour, day or month.")
@click.option("--tz", help="IANA time zone of days and months.")
@click.option("--meter", help="allocated, held or busy.")
@click.option("--scale", help="Decimal places of hours.")
@click.option("--strict", is_flag=True, help="Refuse rather than report less than there was.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File of the token; or set GPUTALLY_TOKEN.")
@click.option("--json", "as_json", is_flag=True, help="The API's answer, all pages in one.")
@click.option("--csv", "as_csv", is_flag=True, help="One line for each group.")
def command(url: str, token_file: Path | None, as_json: bool, as_csv: bool, strict: bool, **asked: str | None) -> None:
    """Show GPU-hours. Exit codes: 65 the collector refused the question, 69 it does not answer."""
    parameters = {name: value for name, value in asked.items() if value is not None}
    if strict:
        parameters["strict"] = "true"
    try:
        answer = ask_all(Collector(url, read_token(token_file)), parameters)
    except NoAnswer as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)
    click.echo(render(answer, columns(parameters), as_json, as_csv), nl=False)


def ask_all(collector: Collector, parameters: dict[str, str]) -> dict[str, Any]:
    """Every page, joined into one answer. Raises NoAnswer."""
    answer = collector.get("/v1/usage", {**parameters, "limit": _PAGE})
    page = answer
    while page["next"] is not None:
        page = collector.get(page["next"])
        answer["items"] += page["items"]
        answer["count"] += page["count"]
    return {**answer, "limit": answer["count"], "next": None}


def columns(parameters: dict[str, str]) -> Row:
    """What the answer to these parameters has columns for, also where it has no rows."""
    keys = [key.strip() for key in parameters.get("group_by", _GROUP_BY).split(",")]
    if parameters.get("window", "none") != "none":
        keys.append("window_start")
    elif {"org" if key == "tenant" else key for key in keys} == set(_GROUP_BY.split(",")):
        keys = _GROUP_BY.split(",")  # these are always nested, in this order and by these names
    return (*keys, "usage", "ns")


def render(answer: dict[str, Any], header: Row, as_json: bool, as_csv: bool) -> str:
    if as_json:
        return json.dumps(answer, indent=2, ensure_ascii=False) + "\n"
    rows = rows_of(answer, header)
    return to_csv(header, rows) if as_csv else to_text(header, rows, answer)


def rows_of(answer: dict[str, Any], header: Row) -> list[Row]:
    """A row for each group, whatever the grouping."""
    items: list[dict[str, Any]] = answer["items"]
    if items and "orgs" in items[0]:
        items = [{"sku": item["sku"], "gpu_model": item["gpu_model"], **org} for item in items for org in item["orgs"]]
    return [tuple(str(item[name]) for name in header) for item in items]


def to_csv(header: Row, rows: list[Row]) -> str:
    """The same question twice is the same bytes."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()


def to_text(header: Row, rows: list[Row], answer: dict[str, Any]) -> str:
    """Aligned columns, hours to the right; then the total, and how complete it is."""
    shown = [name for name in header if name != "ns"]
    lines = [tuple(name.upper() for name in shown)]
    lines += [tuple(value for name, value in zip(header, row, strict=True) if name != "ns") for row in rows]
    lines.append(("TOTAL", *[""] * (len(shown) - 2), answer["grand_total"]["usage"])[-len(shown) :])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "".join(_line(line, widths) for line in lines)
    return f"{text}\n{_summary(answer)}\n"


def _line(line: Row, widths: list[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)]
    return "  ".join([*cells, line[-1].rjust(widths[-1])]) + "\n"


def _summary(answer: dict[str, Any]) -> str:
    complete = answer["completeness"]
    through = complete["complete_through"] or "no time yet"
    return (
        f"{answer['unit']} {answer['meter']}, {answer['range_from']} to {answer['range_to']}: {complete['state']}, "
        f"{complete['hosts_complete']} of {complete['hosts_expected']} hosts complete, all through {through}"
    )
