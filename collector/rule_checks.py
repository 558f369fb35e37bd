"""Whether a rule set can be decided: read by the very reader that hosts use, and for tenants that are known."""

from typing import Final

from ..model.decisions import RulesSet, TenantSet, TenantState
from ..model.rule_text import RuleText
from ..plugins.attribution.rule_body import literal_tenants, read_rule_text
from ..plugins.attribution.rules import BadRules, RuleSet
from ..storage.projection_decisions import decided_in_force
from ..storage.projection_reader import Snapshot
from ..storage.projection_rules import is_version_used
from .problems import BadParameter, Problem

_MOST_TOLD: Final = 20
"""Problems, or tenants, named in one answer."""


def check_rules(seen: Snapshot, what: RulesSet) -> None:
    """Raises Problem: 400 for what no host would take, 409 for a used version and for tenants that are not to be."""
    try:
        rules = read_rule_text(RuleText(what.version, what.body))
    except BadRules as bad:
        raise _refusal(bad) from None
    if is_version_used(seen, what.version):
        raise Problem(
            409,
            "version-used",
            f"version {what.version} was decided already, and records name it: give this set a name of its own",
        )
    _check_tenants(seen, rules)


def _refusal(bad: BadRules) -> BadParameter:
    told = [problem.removeprefix("rules: ") for problem in bad.problems]
    more = [f"and {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
    what = "; ".join([*told[:_MOST_TOLD], *more])
    if what.startswith("version: "):
        return BadParameter("version", what.removeprefix("version: "))
    return BadParameter("body", f"is refused, as every host would: {what}")


def _check_tenants(seen: Snapshot, rules: RuleSet) -> None:
    """Of a registry that is empty nothing follows; a tenant that a rule captures is known only when it is met."""
    registry = {each.what.tenant: each.what.state for each in decided_in_force(seen, TenantSet)}
    if not registry:
        return
    named = literal_tenants(rules)
    closed = {tenant: number for tenant, number in named.items() if registry.get(tenant) is TenantState.CLOSED}
    unknown = {tenant: number for tenant, number in named.items() if tenant not in registry}
    if closed:
        raise Problem(409, "tenant-closed", f"{_name(closed)}: closed in the registry (/v1/tenants)")
    if unknown:
        raise Problem(409, "tenant-unknown", f"{_name(unknown)}: not in the registry: POST /v1/tenants first")


def _name(tenants: dict[str, int]) -> str:
    told = [f'tenant "{tenant}" of rule {number}' for tenant, number in sorted(tenants.items())]
    return ", ".join(told[:_MOST_TOLD])
