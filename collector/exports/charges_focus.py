"""The FOCUS export: a range, cut into UTC months, rated month by month; or the corrections to an earlier export.

Gross, as the rating is: exclusions are not taken off.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise
from typing import Final

from ...model.catalogue import Catalogue
from ...model.interval import Interval
from ...model.rating import RatedLine, difference
from ...storage.projection_reader import Snapshot
from ...storage.usage_query import Scope
from ..catalogues import catalogues_for, choose_catalogue
from ..grid import Window, edges_ns
from ..instants import parse_instant
from ..parameters import take_number
from ..problems import BadParameter
from ..rated_answer import rate_scope, read_rateable
from .focus import COLUMNS, Charged, charge_key, focus_rows
from .lines import csv_chunks

PARAMETERS: Final = (
    "range_from",
    "range_to",
    "catalogue",
    "provider",
    "corrects",
    "billing_period",
    "strict",
    "as_of",
)


@dataclass(frozen=True, slots=True)
class _Asked:
    scope: Scope
    known: tuple[Catalogue, ...]
    version: str | None
    provider: str
    corrects: int | None
    """The log id as of which an earlier export was made."""
    billing_period: Interval | None


def charges_focus(told: Mapping[str, str], snapshot: Snapshot, tenant: str | None) -> Iterator[bytes]:
    """Dataset Cost and Usage as CSV. Raises BadParameter, Problem."""
    asked = _read(told, snapshot, tenant)
    rows = [row for period in months(asked.scope.span) for row in _rows(asked, period, snapshot)]
    return csv_chunks(COLUMNS, rows)


def months(span: Interval) -> Iterator[Interval]:
    """The parts of a range, each within one UTC month."""
    edges = [span.start_ns, *edges_ns(span, Window.MONTH, UTC)[1:], span.end_ns]
    for start_ns, end_ns in pairwise(edges):
        yield Interval(start_ns, end_ns)


def _read(told: Mapping[str, str], snapshot: Snapshot, tenant: str | None) -> _Asked:
    scope = read_rateable(told, snapshot, tenant).scope
    return _Asked(
        scope,
        tuple(catalogues_for(snapshot, scope)),
        told.get("catalogue"),
        told.get("provider", ""),
        take_number(told, "corrects", 0, 0, scope.as_of) if "corrects" in told else None,
        _month(told["billing_period"]) if "billing_period" in told else None,
    )


def _rows(asked: _Asked, period: Interval, snapshot: Snapshot) -> Iterator[tuple[str, ...]]:
    catalogue = choose_catalogue(asked.known, asked.version, period)
    provider = asked.provider or catalogue.provider
    if not provider:
        raise BadParameter("provider", "is missing, and the catalogue names none: FOCUS must say who sells")
    billed = asked.billing_period or whole_month(period.start_ns)
    charged = Charged(period, billed, provider, catalogue.currency, catalogue.version)
    after = rate_scope(snapshot, _at(asked.scope, period, asked.scope.as_of), catalogue)
    if asked.corrects is None:
        return focus_rows(after.charged, charged)
    before = rate_scope(snapshot, _at(asked.scope, period, asked.corrects), catalogue)
    return focus_rows(difference(before, after), _correcting(charged, before.charged, asked))


def _correcting(charged: Charged, before: tuple[RatedLine, ...], asked: _Asked) -> Charged:
    keys = frozenset(charge_key(line, charged, "") for line in before)
    between = f"{asked.corrects}-{asked.scope.as_of}"
    return Charged(
        charged.period, charged.billing_period, charged.provider, charged.currency, charged.version, between, keys
    )


def _at(scope: Scope, period: Interval, as_of: int) -> Scope:
    return Scope(period, as_of, scope.tenant)


def whole_month(start_ns: int) -> Interval:
    """The UTC month that an instant is in."""
    start = edges_ns(Interval(start_ns, start_ns + 1), Window.MONTH, UTC)[0]
    far = Interval(start, start + 32 * 86_400 * 10**9)
    return Interval(start, edges_ns(far, Window.MONTH, UTC)[1])


def _month(text: str) -> Interval:
    try:
        return whole_month(parse_instant(f"{text}-01T00:00:00Z"))
    except ValueError:
        raise BadParameter("billing_period", f'is "{text}", must be a month such as 2026-10') from None
