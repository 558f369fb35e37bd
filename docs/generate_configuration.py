"""Writes docs/configuration.md from the dataclasses that read the configuration, or with --check compares it."""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from gputally.collector.config import CollectorConfig
from gputally.daemon.config import DaemonConfig
from gputally.model.settings import Key, keys_of
from gputally.model.settings_value import describe, to_toml

PAGE = Path(__file__).with_name("configuration.md")
UNITS = {"_s": "seconds", "_ms": "milliseconds", "_h": "hours", "_days": "days", "_mib": "MiB", "_bytes": "bytes"}
HEAD = """# Configuration

Generated from the code by `docs/generate_configuration.py`; a test keeps it so.

The daemon reads `daemon.toml`, the collector `collector.toml`. A file is whole or refused: a program
that is told something wrong names every wrong key, its file and the cure, and exits with 78 before it
touches anything. `gputally config check FILE` says the same beforehand, `gputally config show FILE`
lists every value in force and where it came from.

An environment variable sets a key before the file does: `GPUTALLY_`, the table, two underscores, the
key, all in capitals, as in `GPUTALLY_SAMPLING__EVERY_S=0.5`. A list is written with commas or as TOML
writes it. A variable with two underscores that names no key is an error, and so is one that begins with
a table and a single underscore; tables of the other process may stand in the same environment.

A text that may be unset is unset by an empty text. Wherever the name of a TLS file holds no `/` and
systemd has passed a credential of that name (`LoadCredential=`), the credential is read.
"""


def page() -> str:
    return "\n".join([HEAD, *_file("daemon.toml", DaemonConfig), *_file("collector.toml", CollectorConfig)])


def _file(name: str, cls: type[Any]) -> Iterator[str]:
    yield f"## {name}\n"
    for table, keys in groupby(keys_of(cls), key=lambda key: key.name.rpartition(".")[0]):
        for key in keys if not table else ():
            yield from _table(f"[[{key.name}]]", list(keys_of(key.item_kind)), _variable(key))
        if table:
            yield from _table(f"[{table}]", list(keys), "")


def _table(title: str, keys: list[Key], note: str) -> Iterator[str]:
    yield f"### `{title}`\n{note}"
    yield "| key | default | unit | may be | meaning |\n|---|---|---|---|---|"
    for key in keys:
        yield f"| `{key.name.rpartition('.')[2]}` | {_default(key)} | {_unit(key)} | {describe(key)} | {key.meaning} |"
    yield ""


def _variable(key: Key) -> str:
    return f'\nOne table for each. As a variable: `{key.variable}=[{{name = "Large", ...}}]`.\n'


def _default(key: Key) -> str:
    if key.required:
        return "required"
    return "unset" if key.default is None else f"`{to_toml(key.default)}`"


def _unit(key: Key) -> str:
    return next((unit for suffix, unit in UNITS.items() if key.name.endswith(suffix)), "")


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        print(f"{PAGE} is not what the code says: run python docs/generate_configuration.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
