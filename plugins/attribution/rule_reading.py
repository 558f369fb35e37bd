"""From the tables of ``[[attribution.rules]]`` to compiled rules: all of them, or a refusal that names each fault."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, cast

from ...model.workload import UNATTRIBUTED
from .globs import BadGlob, Glob, compile_glob
from .place import KINDS
from .rules import BadRules, Condition, Rule, RuleSet, Template
from .shapes import SHAPES_VERSION

PATH_KEYS: Final = ("kind", "id", "path", "unit", "uid", "name")
"""What a cgroup path and the kernel can answer."""
METADATA_KEYS: Final = ("namespace", "account", "user", "partition", "image")
"""What only a manager's own metadata can answer; ``label.X`` is another of these."""

_KEYS: Final = (*PATH_KEYS, *METADATA_KEYS)
_MOST_TAGS: Final = 8
_LONGEST_TAG: Final = 64
_HOLE: Final = re.compile(r"\{([0-9]{1,3})\}", re.ASCII)


def compile_rules(raw: Sequence[Mapping[str, Any]]) -> RuleSet:
    """The rules as TOML gave them. Raises BadRules with every problem at once."""
    if not all(isinstance(table, Mapping) for table in cast("Sequence[object]", raw)):
        raise BadRules(["rules: must be an array of tables: [[attribution.rules]]"])
    readings = [_Reading(number) for number in range(1, len(raw) + 1)]
    rules = [reading.read(table) for reading, table in zip(readings, raw, strict=True)]
    problems = [problem for reading in readings for problem in reading.problems]
    if problems:
        raise BadRules(problems)
    return RuleSet(rules_version(raw), tuple(rules))


def rules_version(raw: Sequence[Mapping[str, Any]]) -> str:
    """16 hex digits that change with any rule, their order, or what we know of cgroup paths."""
    canonical = json.dumps([SHAPES_VERSION, list(raw)], sort_keys=True, separators=(",", ":"), default=str)
    return blake2b(canonical.encode(), digest_size=8).hexdigest()


@dataclass(slots=True)
class _Reading:
    """One rule being read, and what is wrong with it."""

    number: int
    problems: list[str] = field(default_factory=list[str])

    def read(self, table: Mapping[str, Any]) -> Rule:
        for key in table.keys() - {"match", "tenant", "project", "tags"}:
            self._refuse(key, "no such key; a rule has match, tenant, project and tags")
        conditions = tuple(self._read_match(table.get("match")))
        stars = [condition.glob.stars for condition in conditions if condition.glob.stars]
        tenant = self._read_tenant(table.get("tenant"), stars)
        project = self._read_template("project", table.get("project", ""), stars)
        return Rule(self.number, conditions, tenant, project, tuple(self._read_tags(table, stars)))

    def _refuse(self, key: str, what: str) -> None:
        self.problems.append(f"rules: rule {self.number}: {key}: {what}")

    def _read_match(self, match: Any) -> Iterator[Condition]:
        if not isinstance(match, Mapping):
            self._refuse("match", "is missing or no table; match = {} means every workload")
            return
        for key, value in _flatten(cast("Mapping[str, Any]", match)):
            if key in _KEYS or key.startswith("label."):
                yield from self._read_condition(key, value)
            else:
                self._refuse(f"match.{key}", f"no such key; there are {', '.join(_KEYS)} and label.NAME")

    def _read_condition(self, key: str, value: Any) -> Iterator[Condition]:
        if key == "uid" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            self._refuse(f"match.{key}", f"must be a text that is not empty, not {value!r}")
            return
        try:
            glob = _compile_path(value) if key == "path" else compile_glob(value)
        except BadGlob as error:
            self._refuse(f"match.{key}", f'"{value}": {error}')
            return
        if key == "kind" and all(glob.match(kind) is None for kind in KINDS):
            self._refuse("match.kind", f'"{value}" is no kind of workload; there are {", ".join(KINDS)}')
        yield Condition(key, glob)

    def _read_tenant(self, value: Any, stars: list[int]) -> Template:
        if value in (None, ""):
            self._refuse("tenant", "is missing: a rule must say who answers for what it matches")
        elif value == UNATTRIBUTED:
            self._refuse("tenant", f'"{UNATTRIBUTED}" is reserved for what no rule matches')
        else:
            return self._read_template("tenant", value, stars)
        return Template()

    def _read_tags(self, table: Mapping[str, Any], stars: list[int]) -> Iterator[tuple[str, Template]]:
        tags = table.get("tags", {})
        if not isinstance(tags, Mapping) or len(cast("Mapping[str, Any]", tags)) > _MOST_TAGS:
            self._refuse("tags", f"must be a table of at most {_MOST_TAGS} texts")
            return
        for key, value in sorted(cast("Mapping[str, Any]", tags).items()):
            if len(key) > _LONGEST_TAG:
                self._refuse(f"tags.{key}", f"its name has more than {_LONGEST_TAG} characters")
            yield key, self._read_template(f"tags.{key}", value, stars)

    def _read_template(self, key: str, value: Any, stars: list[int]) -> Template:
        if not isinstance(value, str):
            self._refuse(key, f"must be a text, not {value!r}")
            return Template()
        parts = [int(part) if odd else part for odd, part in _alternate(_HOLE.split(value))]
        if any(isinstance(part, str) and ("{" in part or "}" in part) for part in parts):
            self._refuse(key, f'"{value}": braces only stand for captures: {{1}} is what the first * matched')
        self._check_captures(key, [part for part in parts if isinstance(part, int)], stars)
        return Template(tuple(part for part in parts if part != ""))

    def _check_captures(self, key: str, used: list[int], stars: list[int]) -> None:
        if used and len(stars) != 1:
            has = "no key of match has a *" if not stars else "more than one key of match has a *"
            self._refuse(key, f"{{{used[0]}}} is not clear: {has}; captures come from exactly one")
            return
        for index in used:
            if not 1 <= index <= stars[0]:
                self._refuse(key, f"{{{index}}} does not exist: the match has {stars[0]} *, counted from 1")


def _alternate(pieces: list[str]) -> Iterator[tuple[int, str]]:
    """What re.split gives: text, captured, text, captured, ..."""
    return ((index % 2, piece) for index, piece in enumerate(pieces))


def _flatten(match: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """TOML reads ``label."a.b"`` as a table in a table, and an unquoted ``label.a.b`` as one more."""
    for key, value in match.items():
        name = prefix + key
        if isinstance(value, Mapping) and (name == "label" or name.startswith("label.")):
            yield from _flatten(cast("Mapping[str, Any]", value), f"{name}.")
        else:
            yield name, value


def _compile_path(pattern: str) -> Glob:
    """A prefix of whole components of the trusted path."""
    parts = pattern.removesuffix("/").split("/")
    if parts[0] or len(parts) < 2 or not all(parts[1:]) or ".." in parts:
        raise BadGlob("a path starts at the root with /, as in /tenants.slice/tenant-*")
    return compile_glob("/".join(parts), prefix=True)
