"""Gross, excluded and net: what of the allocated time lies in exclusions, in ns, floored once where it is shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model.decisions import ExclusionSet
from ..model.excluding import Excluded, Had, exclude
from ..model.prorated import Prorated, total
from ..storage.projection_decisions import Stored, decided_in_force
from ..storage.projection_reader import Snapshot
from ..storage.projection_slices import By, fractions
from ..storage.projection_spans import TooManySpans, allocated_between
from ..storage.usage_query import Scope
from .problems import BadParameter

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExclusionSums:
    """``sums`` by (tenant, GPU model), in ``parts`` of a GPU-nanosecond; exclusions in the order of the log."""

    exclusions: Sequence[Stored[ExclusionSet]]
    sums: Mapping[tuple[str, str], Excluded]
    parts: int

    def of_tenant(self, tenant: str) -> list[Excluded]:
        return [each for (whose, _), each in self.sums.items() if whose == tenant]

    def of_model(self, gpu_model: str) -> list[Excluded]:
        return [each for (_, model), each in self.sums.items() if model == gpu_model]

    def everything(self) -> list[Excluded]:
        return list(self.sums.values())

    def amounts(self, of: Sequence[Excluded]) -> Json:
        """Gross is what /v1/usage says; net and excluded add up to it."""
        gross_ns = sum(each.gross for each in of) // self.parts
        excluded_ns = sum(self.taken_ns(of))
        return {"gross_ns": str(gross_ns), "excluded_ns": str(excluded_ns), "net_ns": str(gross_ns - excluded_ns)}

    def taken_ns(self, of: Sequence[Excluded]) -> list[int]:
        """What each exclusion takes, so that together they are the floor of the exact sum."""
        so_far, before, taken = Prorated(), 0, list[int]()
        for place in range(len(self.exclusions)):
            so_far.include(total(each.taken[place] for each in of if place in each.taken))
            through = so_far.floored(self.parts)
            taken.append(through - before)
            before = through
        return taken


def exclusion_sums(scope: Scope, seen: Snapshot, by: By = "compute") -> ExclusionSums:
    """Raises BadParameter for a range that has too many stretches."""
    found = [
        stored
        for stored in decided_in_force(seen, ExclusionSet, scope.as_of)
        if not stored.what.ended
        and stored.what.from_ns < scope.span.end_ns
        and stored.what.to_ns > scope.span.start_ns
        and scope.tenant in (None, stored.what.tenant or scope.tenant)
    ]
    exclusions = [stored.what for stored in found]
    slices = fractions(seen, by)
    try:
        rows = allocated_between(seen, scope, slices, _keys(exclusions), _edges_ns(scope, exclusions))
    except TooManySpans as error:
        raise BadParameter("range_to", f"makes {error}: ask for a shorter range") from None
    return ExclusionSums(found, exclude((Had(*row) for row in rows), exclusions), slices.parts)


def add_exclusions(answer: Json, scope: Scope, seen: Snapshot, by: By) -> None:
    """To each total of an answer of /v1/usage what of it is excluded."""
    sums = exclusion_sums(scope, seen, by)
    for name, amount in answer["totals_by_org"].items():
        amount |= sums.amounts(sums.of_tenant(name))
    for name, amount in answer["totals_by_gpu_model"].items():
        amount |= sums.amounts(sums.of_model(name))
    answer["grand_total"] |= sums.amounts(sums.everything())


def _edges_ns(scope: Scope, exclusions: Iterable[ExclusionSet]) -> list[int]:
    inside = {edge for each in exclusions for edge in (each.from_ns, each.to_ns)}
    start_ns, end_ns = scope.span.start_ns, scope.span.end_ns
    return sorted({start_ns, end_ns} | {edge for edge in inside if start_ns < edge < end_ns})


def _keys(exclusions: Sequence[ExclusionSet]) -> tuple[str, ...]:
    """Only what some exclusion names: the fewer keys, the fewer stretches."""
    project, host, device = (
        any(getattr(each, name) for each in exclusions) for name in ("project", "host_id", "device_id")
    )
    return (
        "tenant",
        "gpu_model",
        "project" if project else "''",
        "host_id" if host else "''",
        "device_id" if device else "''",
        "coalesce(parent_id, device_id)" if device else "''",
    )
