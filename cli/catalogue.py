"""``gputally catalogue``: check a price list, show it in canonical form, put it into the ledger."""

import json
import sys
from pathlib import Path

import click

from ..collector.catalogue_file import load_catalogue
from ..collector.instants import format_instant
from ..model.catalogue import Catalogue, canonical_body
from ..model.exits import Exit
from ..model.settings import BadSettings
from .asking import Collector, NoAnswer, read_token


@click.group()
def command() -> None:
    """Price lists: every version is checked before it holds, and kept for ever once it does."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Whether FILE (TOML or JSON) is a price list. Exit code 66 if it is not, with every wrong key named."""
    catalogue = _load(file)
    click.echo(f"{file}: version {catalogue.version}, {len(catalogue.skus)} SKUs in {catalogue.currency}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """FILE in canonical form: the bytes that the ledger keeps."""
    click.echo(canonical_body(_load(file)).decode())


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--collector", "url", default="http://127.0.0.1:8080", show_default=True, help="Its API.")
@click.option("--why", required=True, help="In words; kept with it.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File of an operator's token.")
def publish(file: Path, url: str, why: str, token_file: Path | None) -> None:
    """Put FILE into the ledger. A version that has started can only be ended (effective_to) from then on."""
    catalogue = _load(file)
    try:
        made = Collector(url, read_token(token_file)).post("/v1/catalogues", body_of(catalogue, why), ("log_id",))
    except NoAnswer as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)
    start = format_instant(catalogue.effective_from_ns)
    click.echo(f"version {catalogue.version} is in the ledger (log id {made['log_id']}) and holds from {start}")


def body_of(catalogue: Catalogue, why: str) -> bytes:
    """What POST /v1/catalogues takes."""
    end_ns = catalogue.effective_to_ns
    told = {
        "version": catalogue.version,
        "effective_from": format_instant(catalogue.effective_from_ns),
        "effective_to": None if end_ns is None else format_instant(end_ns),
        "body": canonical_body(catalogue).decode(),
        "why": why,
    }
    return json.dumps(told).encode()


def _load(file: Path) -> Catalogue:
    try:
        return load_catalogue(file)
    except BadSettings as bad:
        click.echo(str(bad), err=True)
        sys.exit(Exit.NO_INPUT)
