"""``gputally explain``: all that is known of a tenant's usage in one file, and checking such a file offline."""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from ..collector.explain_check import NotExplained, Verdict, check_explained
from ..model.decisions import OWN_HOST_ID
from ..model.exits import Exit
from .asking import Collector, NoAnswer, read_token
from .month import edges, take_period
from .trusted_keys import BadTrustedKeys, load_check, read_trusted_keys

_PATH = click.Path(path_type=Path)
_LARGEST_BYTES: Final = 256 * 1024 * 1024
_EXPLAINING_S: Final = 3600.0
_MOST_TOLD: Final = 50


@click.command()
@click.option("--check", "checked", type=_PATH, help="Check this file instead; needs no collector.")
@click.option("--trusted-keys", type=_PATH, help="With --check: a file with a line `gputally:ledger PUBLIC-KEY`.")
@click.option("--collector", "url", default="http://127.0.0.1:8080", show_default=True, help="Its API.")
@click.option("--tenant", help="Whose usage; a tenant's own token may leave it out.")
@click.option("--period", help="A UTC month such as 2026-10; or give --from and --to.")
@click.option("--from", "start", help="RFC 3339.")
@click.option("--to", "end", help="RFC 3339; not part of the range.")
@click.option("--workload", help="Only this one, kind:id as the records say it.")
@click.option("--no-frames", is_flag=True, help="Leave out frames: they hold other tenants' records too.")
@click.option("--out", type=_PATH, help="The file to write; one that is there is replaced.")
@click.option("--token-file", type=_PATH, help="File of the token; or set GPUTALLY_TOKEN.")
def command(
    checked: Path | None,
    trusted_keys: Path | None,
    url: str,
    tenant: str | None,
    period: str | None,
    start: str | None,
    end: str | None,
    workload: str | None,
    no_frames: bool,
    out: Path | None,
    token_file: Path | None,
) -> None:
    """Write records, evidence, corrections, rules, seals and proofs of a dispute into one file, or --check one.

    Exit codes: 1 the file does not hold together, 65 the collector refused, 66 no such file, 69 no answer,
    74 the file cannot be written.
    """
    if checked is not None:
        _check(checked, trusted_keys)
    if out is None:
        raise click.UsageError("give --out FILE to write one, or --check FILE")
    span = edges(take_period(period, start, end))
    asked = {"range_from": span["from"], "range_to": span["to"], "tenant": tenant, "workload": workload}
    told = {name: value for name, value in asked.items() if value is not None}
    told |= {"frames": "false"} if no_frames else {}
    try:
        answer = Collector(url, read_token(token_file), _EXPLAINING_S).get("/v1/explain", told, ("format", "records"))
    except NoAnswer as error:
        _exit(str(error), error.code)
    _write(out, answer)
    click.echo(f"{out}: {len(answer['records'])} records, {len(answer['seals'])} seals, as of {answer['as_of']}")


def _write(out: Path, answer: dict[str, Any]) -> None:
    """The same question of the same ledger is the same bytes."""
    raw = json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    made = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        made.write_bytes(raw)
        made.rename(out)
    except OSError as error:
        made.unlink(missing_ok=True)
        _exit(f"{out} cannot be written: {error.strerror}", Exit.IO)


def _check(path: Path, trusted: Path | None) -> NoReturn:
    try:
        pinned = frozenset[bytes]() if trusted is None else read_trusted_keys(trusted).get(OWN_HOST_ID, frozenset())
        verdict = check_explained(_read(path), pinned, load_check())
    except (NotExplained, BadTrustedKeys) as error:
        _exit(str(error) if isinstance(error, BadTrustedKeys) else f"{path} {error}", Exit.NO_INPUT)
    click.echo("\n".join(_lines(path, verdict)))
    sys.exit(Exit.BROKEN if verdict.problems else Exit.OK)


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_BYTES + 1)
        if len(raw) > _LARGEST_BYTES:
            raise NotExplained(f"has more than {_LARGEST_BYTES} bytes")
        return json.loads(raw)
    except OSError as error:
        raise NotExplained(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise NotExplained(f"is no JSON: {error}") from None


def _lines(path: Path, verdict: Verdict) -> list[str]:
    told = [
        f"records    {verdict.records}, of which {verdict.counted} count",
        f"proven     {verdict.proven} under a seal; {verdict.unsealed} are of time that is not sealed",
        f"in frames  {verdict.in_frames}",
        *(f"seal       {each}" for each in verdict.seals),
        *(f"BROKEN     {each}" for each in verdict.problems[:_MOST_TOLD]),
    ]
    more = len(verdict.problems) - _MOST_TOLD
    told += [f"and {more} more"] if more > 0 else []
    return [*told, f"{path}: {'does NOT hold together' if verdict.problems else 'holds together'}"]


def _exit(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
