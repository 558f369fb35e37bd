"""``gputally rules``: how cgroup paths and processes resolve, before any of it is billed."""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import click

from ..daemon.collector_rules import load_stored
from ..daemon.config import AttributionConfig, DaemonConfig
from ..daemon.loading import load_daemon_config
from ..model.exits import Exit
from ..model.rule_text import MOST_BODY_BYTES, RuleText
from ..model.settings import BadSettings
from ..plugins.attribution.attributor import make_attributor
from ..plugins.attribution.checks import check_plugins, unanswered_keys
from ..plugins.attribution.explain import Explanation, explain_path, explain_pids
from ..plugins.attribution.rule_body import read_rule_text
from ..plugins.attribution.rule_reading import compile_rules
from ..plugins.attribution.rules import BadRules, RuleSet

_LINE = re.compile(r"^[0-9]+:[^/:]*:(?=/)")
"""What stands before the path in a line of /proc/PID/cgroup."""


@click.group
def command() -> None:
    """How cgroup paths and processes become workloads and tenants."""


@command.command
@click.option("--config", "config", type=click.Path(path_type=Path), help="daemon.toml; without it: no rules.")
@click.option(
    "--rules",
    "body",
    type=click.File("rb"),
    help="A rule set for the collector ([[rules]], as for POST /v1/rules) in place of those of --config.",
)
@click.option("--paths", type=click.File("rb"), help="Cgroup paths, one a line; - reads standard input.")
@click.option("--pid", "pids", type=click.IntRange(min=1), multiple=True, help="A process that runs now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def test(
    config: Path | None, body: BinaryIO | None, paths: BinaryIO | None, pids: tuple[int, ...], as_json: bool
) -> None:
    """Say who would be billed for each path of --paths and each --pid."""
    if paths is None and not pids:
        raise click.UsageError("nothing to resolve: give --paths FILE (- for standard input) or --pid PID")
    attribution, rules = _load_or_exit(config, body)
    if keys := unanswered_keys(rules):
        click.echo(f"note: {', '.join(keys)} cannot be known yet: rules that ask for them match nothing", err=True)
    explained = _explain_paths(rules, paths) if paths else iter(())
    show = _show_json if as_json else _show_text
    for explanation in explained:
        show(explanation)
    for explanation in _explain_pids(attribution, rules, pids):
        show(explanation)


def _load_or_exit(path: Path | None, body: BinaryIO | None) -> tuple[AttributionConfig, RuleSet]:
    try:
        config = load_daemon_config(path, os.environ)
        check_plugins(config.attribution.plugins)
        if body is not None:
            text = body.read(MOST_BODY_BYTES + 1).decode(errors="surrogateescape")
            return config.attribution, read_rule_text(RuleText("test", text))
        return config.attribution, _in_force(config)
    except (BadSettings, BadRules) as bad:
        where = f"{path}: " if path and isinstance(bad, BadRules) else ""
        click.echo("\n".join(f"{where}{line}" for line in str(bad).splitlines()), err=True)
        sys.exit(Exit.CONFIG)


def _in_force(config: DaemonConfig) -> RuleSet:
    """As the daemon does: the collector's, where it takes those and has heard any."""
    attribution = config.attribution
    stored = load_stored(Path(config.log.path)) if attribution.rules_from_collector else None
    if stored is None:
        return compile_rules(attribution.rules)
    click.echo(f"note: by the collector's rules {stored.text.version}, not by those of the configuration", err=True)
    return stored.rules


def _explain_paths(rules: RuleSet, paths: BinaryIO) -> Iterator[Explanation]:
    """Names of cgroups are bytes; what is no UTF-8 is shown as ``\\xNN``, as the daemon reads it."""
    for raw in paths:
        line = raw.decode(errors="backslashreplace").rstrip("\r\n")
        if line:
            yield explain_path(rules, _LINE.sub("", line, count=1))


def _explain_pids(attribution: AttributionConfig, rules: RuleSet, pids: Sequence[int]) -> list[Explanation]:
    if not pids:
        return []
    with closing(make_attributor(attribution.proc, attribution.cgroup, rules)) as attributor:
        return explain_pids(attributor, attribution.proc, list(pids))


def _to_plain(explained: Explanation) -> dict[str, Any]:
    owner = explained.owner
    told: dict[str, Any] = {
        "path": explained.path,
        "kind": explained.workload.kind,
        "id": explained.workload.id,
        "tenant": owner.tenant,
        "project": owner.project or None,
        "rule": owner.rule or None,
        "reason": owner.reason or None,
        "boundary": explained.boundary,
    }
    if owner.tags:
        told["tags"] = dict(owner.tags)
    return told if explained.pid is None else told | {"pid": explained.pid}


def _show_json(explained: Explanation) -> None:
    click.echo(json.dumps(_to_plain(explained)))


def _show_text(explained: Explanation) -> None:
    told = _to_plain(explained)
    who = f"{told['tenant']}/{told['project']}" if told["project"] else told["tenant"]
    why = f"rule {told['rule']}" if told["rule"] else told["reason"]
    what = "" if explained.pid is None else f"pid {explained.pid}  "
    click.echo(_printable(f"{what}{told['path'] or '(no cgroup to be seen)'}"))
    click.echo(_printable(f"    {told['kind']}:{told['id']}  ->  {who}  ({why})"))


def _printable(text: str) -> str:
    """Names are tenants' choice: none may steer the terminal it is shown on."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
