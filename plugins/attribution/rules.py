"""The operator's rules: an ordered list, the first that matches a workload names its tenant.

A rule sees facts of the workload that its tenant could not have written; see
docs/attribution.md for which these are. Compiling is in rule_reading.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ...model.workload import NOBODY, UNATTRIBUTED, Owner, Unattributed
from .globs import Captures, Glob
from .place import Place

Facts = Mapping[str, str]
"""What is known of a workload, by the key a rule would ask for. An absent key matches nothing."""

LONGEST_NAME: Final = 255
"""Characters of a tenant, project or tag: with it a segment's records fit a frame."""

UID_DECIDES: Final = frozenset({"slurm", "service", "apptainer"})
"""Kinds whose processes cannot choose their uid. In a container root can become anyone, so there a
process's uid is the tenant's own word; a user's slice and Slurm's v1 folders have it in the path."""


class BadRules(ValueError):
    """Rules that are refused as a whole. Each problem names its place: ``rules: rule 2: match.kind: ...``."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"attribution.{problem}" for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of ``match``: ``kind``, ``path``, ``label.team``, ..."""

    key: str
    glob: Glob


@dataclass(frozen=True, slots=True)
class Template:
    """A text with holes: numbers are captures, counted from 1."""

    parts: tuple[str | int, ...] = ()

    def fill(self, captures: Captures) -> str:
        return "".join(captures[part - 1] if isinstance(part, int) else part for part in self.parts)


@dataclass(frozen=True, slots=True)
class Rule:
    """``number`` is its place in the configuration, counted from 1."""

    number: int
    conditions: tuple[Condition, ...]
    tenant: Template
    project: Template = Template()
    tags: tuple[tuple[str, Template], ...] = ()

    def decide(self, facts: Facts) -> Owner | None:
        """The owner, or None where a condition does not hold."""
        captured: Captures = ()
        for condition in self.conditions:
            value = facts.get(condition.key)
            found = None if value is None else condition.glob.match(value)
            if found is None:
                return None
            captured += found
        return self._owner(captured)

    def _owner(self, captured: Captures) -> Owner:
        tenant, rule = self.tenant.fill(captured), str(self.number)
        project = self.project.fill(captured)
        tags = tuple((key, value.fill(captured)) for key, value in self.tags)
        too_long = any(len(text) > LONGEST_NAME for text in (tenant, project, *(value for _, value in tags)))
        if tenant in ("", UNATTRIBUTED) or too_long:
            # A star may match nothing, the reserved word or far too much: that is nobody we know.
            return Owner(rule=rule, reason=Unattributed.UNKNOWN_TENANT.value)
        return Owner(tenant, project, rule, tags=tags)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules in order. ``version`` names them together with what we know of cgroup paths."""

    version: str
    rules: tuple[Rule, ...] = ()

    def decide(self, place: Place, process_uid: int | None) -> Owner:
        """Who answers for a workload. ``process_uid`` is that of its earliest process."""
        facts = gather_facts(place, process_uid)
        for rule in self.rules:
            if owner := rule.decide(facts):
                return owner
        return Owner(reason=Unattributed.HOST_PROCESS.value) if place.workload.is_host else NOBODY

    def asked_keys(self) -> frozenset[str]:
        """Every key that some rule asks for."""
        return frozenset(condition.key for rule in self.rules for condition in rule.conditions)


def gather_facts(place: Place, process_uid: int | None) -> Facts:
    facts = {"kind": place.workload.kind, "id": place.workload.id, "path": place.boundary}
    facts |= {key: value for key, value in (("unit", place.unit), ("name", place.name)) if value}
    uid = place.uid
    if uid is None and place.workload.kind in UID_DECIDES:
        uid = process_uid
    return facts if uid is None else facts | {"uid": str(uid)}
