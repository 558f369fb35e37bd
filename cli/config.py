"""`gputally config`: whole or refused, with where each value came from."""

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from ..collector.config import CollectorConfig
from ..collector.loading import load_collector_config
from ..daemon.config import DaemonConfig
from ..daemon.loading import load_daemon_config
from ..model.endpoint import without_password
from ..model.exits import Exit
from ..model.settings import BadSettings
from ..model.settings_read import Explained, explain_settings
from ..model.settings_value import to_plain, to_toml
from ..plugins.toml_file import read_toml

Load = Callable[[Path | None, Mapping[str, str]], DaemonConfig | CollectorConfig]
_file = click.argument("file", type=click.Path(path_type=Path))


@click.group
def command() -> None:
    """Check or show a configuration: daemon.toml or collector.toml."""


@command.command
@_file
def check(file: Path) -> None:
    """Say whether FILE, with this environment, is good. Exit 78 if it is not."""
    _load_or_exit(file)
    click.echo(f"{file}: good")


@command.command("show")
@_file
@click.option("--json", "as_json", is_flag=True, help="One JSON object, keys dotted.")
def show_settings(file: Path, as_json: bool) -> None:
    """Every key in force: its value, where it came from and what it means."""
    explained = explain_settings(_load_or_exit(file), read_toml(file), os.environ)
    if as_json:
        click.echo(json.dumps({each.key.name: _described(each) for each in explained}, indent=2))
    else:
        _print_toml(explained)


def _load_or_exit(file: Path) -> DaemonConfig | CollectorConfig:
    try:
        return loader_for(file, read_toml(file))(file, os.environ)
    except BadSettings as bad:
        click.echo(str(bad), err=True)
        sys.exit(Exit.CONFIG)


def loader_for(file: Path, told: Mapping[str, Any]) -> Load:
    """Whose configuration this is: the one that knows more of its tables; in doubt, by the name of the file."""
    daemons = len(told.keys() & {each.name for each in fields(DaemonConfig)})
    collectors = len(told.keys() & {each.name for each in fields(CollectorConfig)})
    is_collector = collectors > daemons or (collectors == daemons and "collector" in file.name)
    return load_collector_config if is_collector else load_daemon_config


def _described(each: Explained) -> dict[str, Any]:
    value = _hide_secrets(to_plain(each.value))
    # JSON has no infinity.
    return {"value": str(value) if value == math.inf else value, "origin": each.origin, "meaning": each.key.meaning}


def _print_toml(explained: list[Explained]) -> None:
    """As TOML that could be read again, tables in order; what is unset stands in a comment."""
    # TOML wants the keys of no table before all tables.
    for table, keys in groupby(sorted(explained, key=lambda each: "." in each.key.name), key=_table_of):
        click.echo(f"\n[{table}]" if table else "")
        for each in keys:
            click.echo(_line(each))


def _table_of(each: Explained) -> str:
    return each.key.name.rpartition(".")[0]


def _line(each: Explained) -> str:
    name = each.key.name.rpartition(".")[2]
    value = to_toml(_hide_secrets(to_plain(each.value)))
    told = f"{name} = {value}" if each.value is not None else f"# {name} is not set"
    comment = ": ".join(part for part in (each.origin.value, each.key.meaning) if part)
    return f"{told:<40}  # {comment}"


def _hide_secrets(value: Any) -> Any:
    return without_password(value) if isinstance(value, str) else value
