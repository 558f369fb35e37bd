"""A rule set as the collector keeps it for its hosts: checked there by the very reader that hosts use."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from ...model.rule_text import MOST_BODY_BYTES, MOST_VERSION_CHARACTERS, RuleText
from ...model.settings import BadSettings
from ..toml_file import parse_toml
from .rule_reading import compile_rules
from .rules import BadRules, RuleSet

_VERSION: Final = re.compile(rf"[A-Za-z0-9._+:-]{{1,{MOST_VERSION_CHARACTERS}}}", re.ASCII)


def read_rule_text(text: RuleText) -> RuleSet:
    """``[[rules]]`` as in the table ``[attribution]`` of daemon.toml, and nothing else.

    Its version is ``NAME/16 hex digits``: the operator's name, and what changes with any rule or with what this
    program knows of cgroup paths. Raises BadRules with every problem at once.
    """
    if not _VERSION.fullmatch(text.version):
        raise BadRules([f"version: must be 1 to {MOST_VERSION_CHARACTERS} of letters, digits and ._+:-"])
    if text.is_too_large:
        raise BadRules([f"body: has more than {MOST_BODY_BYTES} bytes"])
    try:
        compiled = compile_rules(_tables(parse_toml(text.body.encode(), "body")))
    except (BadSettings, UnicodeEncodeError) as bad:
        raise BadRules([" ".join(str(bad).split())]) from None
    return replace(compiled, version=f"{text.version}/{compiled.version}")


def literal_tenants(rules: RuleSet) -> dict[str, int]:
    """Tenants that rules name as they are, without a capture, and the number of the first rule that does."""
    found: dict[str, int] = {}
    for rule in rules.rules:
        if all(isinstance(part, str) for part in rule.tenant.parts):
            found.setdefault(rule.tenant.fill(()), rule.number)
    return found


def _tables(told: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Raises BadRules."""
    if "attribution" in told:
        raise BadRules(["body: write [[rules]], not [[attribution.rules]]: nothing else can stand here"])
    strays = sorted(told.keys() - {"rules"})
    if strays:
        raise BadRules([f"body: {name}: no such key; a rule set has [[rules]] and nothing else" for name in strays])
    tables = told.get("rules")
    if not isinstance(tables, list) or not tables:
        raise BadRules(["body: has no [[rules]]: a set without rules would leave all time unattributed"])
    return cast("list[Mapping[str, Any]]", tables)
