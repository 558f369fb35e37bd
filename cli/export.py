"""``gputally export``: usage and charges for other systems, as the collector writes them."""

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from ..model.exits import Exit
from .asking import Collector, NoAnswer, read_token

FORMATS: Final = {
    "csv": "usage, a line for each group of `gputally usage`",
    "ndjson": "CloudEvents 1.0: each change of a record as a signed delta",
    "focus": "charges by FOCUS 1.4, dataset Cost and Usage",
    "parquet": "every usage record in force",
}


@click.command(epilog="; ".join(f"{name}: {what}" for name, what in FORMATS.items()))
@click.argument("format", type=click.Choice(list(FORMATS)))
@click.option("--collector", "url", default="http://127.0.0.1:8080", show_default=True, help="Its API.")
@click.option("--from", "range_from", required=True, help="RFC 3339, such as 2026-10-01T00:00:00Z.")
@click.option("--to", "range_to", required=True, help="RFC 3339; not part of the range.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write, whole or not at all; else standard output."
)
@click.option("--as-of", help="Log id: the ledger as it was then.")
@click.option("--strict", is_flag=True, help="Refuse rather than export less than there was.")
@click.option("--group-by", help="csv: as of `gputally usage`.")
@click.option("--window", help="csv: none, minute, hour, day or month.")
@click.option("--tz", help="csv: IANA time zone of days and months.")
@click.option("--meter", help="csv: allocated, allocated_memory, held or busy.")
@click.option("--scale", help="csv: decimal places of hours.")
@click.option("--since", help="ndjson: log id behind which changes are told.")
@click.option("--final", is_flag=True, help="ndjson: only what lasts, and only if the range is complete.")
@click.option("--oldest", help="ndjson: refuse if an event is older than this (RFC 3339), rather than shift it.")
@click.option("--catalogue", "--catalog", "catalogue", help="focus: version of the price list.")
@click.option("--corrects", help="focus: log id of the export that is to be corrected.")
@click.option("--billing-period", help="focus: month that is billed, such as 2026-11; else that of the charges.")
@click.option("--provider", help="focus: who sells, where the price list does not say.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File of the token; or set GPUTALLY_TOKEN.")
def command(
    format: str, url: str, out: Path | None, token_file: Path | None, strict: bool, final: bool, **asked: str | None
) -> None:
    """Write an export. Exit codes: 65 the collector refused it, 69 it does not answer, 74 it cannot be written."""
    flags = {name: "true" for name, given in (("strict", strict), ("final", final)) if given}
    parameters = {name: value for name, value in asked.items() if value is not None} | flags
    try:
        chunks = Collector(url, read_token(token_file)).read(f"/v1/export/{format}", parameters)
        if out is None:
            _to_standard_output(chunks)
        else:
            write_whole(out, chunks)
    except NoAnswer as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)


def _to_standard_output(chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """The file is there with all of it, durably, or as it was before. Raises NoAnswer."""
    unfinished: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            unfinished = Path(file.name)
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o644)
        unfinished.replace(path)
        unfinished = None
    except OSError as error:
        raise NoAnswer(Exit.IO, f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
