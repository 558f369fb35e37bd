"""The answer of GET /v1/rated: what the usage of a range costs by one version of the catalogue, and by another.

Gross: excluded time is charged as any other; what is left without it says GET /v1/exclusions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..model.catalogue import Catalogue
from ..model.interval import Interval
from ..model.rating import Adjustment, Rating, UsageSum, rate
from ..storage.projection_completeness import completeness
from ..storage.projection_decisions import adjustments_in
from ..storage.projection_priced import priced_sums
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Completeness, Meter, Scope, TooManyGroups
from .catalogues import catalogues_for, choose_catalogue, find_catalogue
from .completeness import describe
from .instants import format_instant
from .parameters import take_flag, take_number, take_span
from .problems import BadParameter
from .rated_lines import ROUNDING, Json, describe_beside, describe_catalogue, describe_rating
from .usage_answer import check_as_of, check_range, refuse_if_lacking

PARAMETERS: Final = ("range_from", "range_to", "catalogue", "beside", "strict", "as_of")
SUMS_PARAMETERS: Final = ("range_from", "range_to", "meters", "tags", "strict", "as_of")
_LARGEST: Final = 2**53
_MOST_TAGS: Final = 100


@dataclass(frozen=True, slots=True)
class Rateable:
    """A range that can be rated: no record lies across its edges."""

    scope: Scope
    lack: Completeness

    @property
    def span(self) -> Interval:
        return self.scope.span


def read_rateable(told: Mapping[str, str], snapshot: Snapshot, tenant: str | None) -> Rateable:
    """Raises BadParameter, and Problem (409) for strict=true on incomplete data."""
    asked = take_number(told, "as_of", 0, 0, _LARGEST) if "as_of" in told else None
    scope = Scope(take_span(told), check_as_of(asked, snapshot), tenant)
    check_range(scope, snapshot)
    lack = completeness(snapshot, scope)
    if take_flag(told, "strict"):
        refuse_if_lacking(scope.span, lack)
    return Rateable(scope, lack)


def answer_rated(told: Mapping[str, str], snapshot: Snapshot, tenant: str | None) -> Json:
    rateable = read_rateable(told, snapshot, tenant)
    known = catalogues_for(snapshot, rateable.scope)
    catalogue = choose_catalogue(known, told.get("catalogue"), rateable.span)
    beside = find_catalogue(known, told["beside"], "beside") if "beside" in told else None
    if beside is not None and beside.currency != catalogue.currency:
        raise BadParameter("beside", f"is in {beside.currency}, not {catalogue.currency}: an answer has one currency")
    rating = rate_scope(snapshot, rateable.scope, catalogue)
    return {
        **_header(rateable),
        "rounding": ROUNDING,
        "catalogue": describe_catalogue(catalogue),
        "rating": describe_rating(rating),
        **({"beside": describe_beside(rating, rate_scope(snapshot, rateable.scope, beside))} if beside else {}),
    }


def answer_sums(told: Mapping[str, str], snapshot: Snapshot, tenant: str | None) -> Json:
    """All that a rating is a function of besides the catalogue, for whoever wants to rate by one of his own."""
    rateable = read_rateable(told, snapshot, tenant)
    tags = _tags(told)
    sums = _sums(snapshot, rateable.scope, _meters(told), tags)
    booked = [_adjustment(each) for each in _booked(snapshot, rateable.scope)]
    return {**_header(rateable), "tags": sorted(tags), "items": [_sum(each) for each in sums], "adjustments": booked}


def rate_scope(snapshot: Snapshot, scope: Scope, catalogue: Catalogue) -> Rating:
    """The rating of what the ledger holds as of the scope's log id. Raises BadParameter for too many groups."""
    meters = [Meter(name) for name in catalogue.meters]
    sums = _sums(snapshot, scope, meters, catalogue.tags | {catalogue.sku_tag})
    return rate(sums, catalogue, _booked(snapshot, scope))


def _booked(snapshot: Snapshot, scope: Scope) -> list[Adjustment]:
    found = (stored.what for stored in adjustments_in(snapshot, scope))
    return [Adjustment(what.id, what.tenant, what.gpu_model, what.ns) for what in found]


def _sums(snapshot: Snapshot, scope: Scope, meters: list[Meter], tags: Iterable[str]) -> list[UsageSum]:
    try:
        return priced_sums(snapshot, scope, meters, set(tags))
    except TooManyGroups as error:
        raise BadParameter("range_to", f"gives {error}: ask for a shorter range") from None


def _header(rateable: Rateable) -> Json:
    span = rateable.span
    return {
        "range_from": format_instant(span.start_ns),
        "range_to": format_instant(span.end_ns),
        "as_of": str(rateable.scope.as_of),
        "completeness": describe(span.end_ns, rateable.lack),
    }


def _meters(told: Mapping[str, str]) -> list[Meter]:
    names = told.get("meters", Meter.ALLOCATED.value).split(",")
    if not set(names) <= set(Meter) or len(set(names)) < len(names):
        raise BadParameter("meters", f'is "{told.get("meters")}", must be one or more of {", ".join(Meter)}, once each')
    return [Meter(name) for name in names]


def _tags(told: Mapping[str, str]) -> set[str]:
    names = {name for name in told.get("tags", "").split(",") if name}
    if len(names) > _MOST_TAGS:
        raise BadParameter("tags", f"names {len(names)} tags, must be at most {_MOST_TAGS}")
    return names


def _sum(each: UsageSum) -> dict[str, Any]:
    return {
        "org": each.tenant,
        "gpu_model": each.gpu_model,
        "meter": each.meter,
        "tags": dict(each.tags),
        "ns": str(each.ns),
    }


def _adjustment(each: Adjustment) -> dict[str, Any]:
    return {"id": each.id, "org": each.tenant, "gpu_model": each.gpu_model, "ns": str(each.ns)}
