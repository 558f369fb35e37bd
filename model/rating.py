"""What usage costs: a pure function of usage sums, a version of the catalogue, and nothing else.

Time is rounded once, where it becomes a quantity: PLACES decimal places of a GPU-hour, half up. What is charged is
the product of the quantity shown and the unit price shown, exactly: anybody can multiply it again, to the last digit.
Tiers are graduated and count per tenant, SKU and rated period.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from .billable import Resolved, find_sku, is_what_it_was_sold_as, resolve
from .catalogue import ALLOCATED, Catalogue, Sku
from .interval import NS_PER_HOUR
from .workload import UNATTRIBUTED

PLACES: Final = 9
_LATE: Final = "late:"
"""How the ids begin of what came for a sealed period and was booked by the collector: allocated time, always."""
_EXACT: Final = Context(prec=100, rounding=ROUND_HALF_UP)
"""Wide enough that no product or sum is ever rounded: 30 digits of ns, 25 of a price."""
_STEP: Final = Decimal(1).scaleb(-PLACES)


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Time of one tenant on one GPU model by one meter, in whole ns, with the tags that matter to prices, sorted."""

    tenant: str
    gpu_model: str
    meter: str
    ns: int
    tags: tuple[tuple[str, str], ...] = ()
    why: str = ""
    """Of what is in no total, and not because no SKU fits its hardware: the reason."""


@dataclass(frozen=True, slots=True)
class RatedLine:
    """A tenant's use of an SKU within one tier. ``quantity * unit_price == cost``, exactly."""

    tenant: str
    sku: str
    tier: int
    """From 1."""
    unit: str
    quantity: Decimal
    unit_price: Decimal
    cost: Decimal
    gpu_models: tuple[str, ...]
    parameters: tuple[Resolved, ...] = ()
    meter: str = ""
    adjustment: str = ""
    """The id of the adjustment that this is; empty: it is usage."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A signed amount of time that a person booked, or that came late. At the first tier's price; it climbs none.

    It has no tags: it is of the first SKU that fits hardware without any.
    """

    id: str
    tenant: str
    gpu_model: str
    ns: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Usage that was sold as an SKU which the hardware is not. It is charged by its hardware."""

    tenant: str
    said: str
    gpu_model: str
    ns: int


@dataclass(frozen=True, slots=True)
class Rating:
    """All lines are in order of tenant, SKU and tier, and none has a quantity of 0; adjustments by their ids."""

    version: str
    currency: str
    lines: tuple[RatedLine, ...]
    unattributed: tuple[RatedLine, ...]
    """What time costs that belongs to nobody, also if it came late: in no total."""
    unpriced: tuple[UsageSum, ...]
    """What no SKU fits, or whose SKU goes by a meter that its amount is not of: in no total, and not free either."""
    mismatches: tuple[Mismatch, ...]
    adjustments: tuple[RatedLine, ...] = ()

    @property
    def charged(self) -> tuple[RatedLine, ...]:
        """All that is in the total: usage, then adjustments."""
        return (*self.lines, *self.adjustments)

    @property
    def total(self) -> Decimal:
        return sum_of(self.charged)


def rate(sums: Iterable[UsageSum], catalogue: Catalogue, adjustments: Iterable[Adjustment] = ()) -> Rating:
    """Every sum is charged once, as the first SKU that fits it, or is in ``unpriced``; so is every adjustment."""
    by_sku: defaultdict[tuple[str, str], list[UsageSum]] = defaultdict(list)
    unpriced: list[UsageSum] = []
    counted = [each for each in sums if each.ns]
    for each in counted:
        sku = find_sku(catalogue, each.gpu_model, dict(each.tags))
        if sku is None and each.meter == _first_meter(catalogue):
            unpriced.append(each)
        elif sku is not None and sku.meter == each.meter:
            by_sku[each.tenant, sku.name].append(each)
    skus = {sku.name: sku for sku in catalogue.skus}
    booked, left = _book(adjustments, catalogue)
    unpriced += left
    lines = [line for (tenant, name), of_it in sorted(by_sku.items()) for line in _charge(tenant, skus[name], of_it)]
    return Rating(
        catalogue.version,
        catalogue.currency,
        tuple(line for line in lines if line.tenant != UNATTRIBUTED),
        tuple(line for line in (*lines, *booked) if line.tenant == UNATTRIBUTED),
        tuple(sorted(unpriced, key=_order)),
        tuple(_mismatches(counted, catalogue)),
        tuple(line for line in booked if line.tenant != UNATTRIBUTED),
    )


def _book(adjustments: Iterable[Adjustment], catalogue: Catalogue) -> tuple[list[RatedLine], list[UsageSum]]:
    """(lines, what has no price), by their ids."""
    lines: list[RatedLine] = []
    left: list[UsageSum] = []
    for each in sorted(adjustments, key=lambda each: each.id):
        sku = find_sku(catalogue, each.gpu_model, {})
        if sku is None:
            left.append(_left(each))
        elif sku.meter != ALLOCATED and each.id.startswith(_LATE):
            # How much of it was busy nobody knows; what a person books means hours of the SKU, whatever its meter.
            left.append(_left(each, f"{each.id} is allocated time, {sku.name} is charged by {sku.meter}"))
        else:
            lines.append(_adjust(each, sku))
    return lines, left


def _left(each: Adjustment, why: str = "") -> UsageSum:
    return UsageSum(each.tenant, each.gpu_model, ALLOCATED, each.ns, why=why)


def sum_of(lines: Iterable[RatedLine]) -> Decimal:
    total = Decimal(0)
    for line in lines:
        total = _EXACT.add(total, line.cost)
    return total


def less(amount: Decimal, by: Decimal) -> Decimal:
    """The difference, exactly, whatever the caller's decimal context."""
    return _EXACT.subtract(amount, by)


def quantity(ns: int) -> Decimal:
    """GPU-hours at PLACES decimal places, half up (away from zero), whatever the sign."""
    return _EXACT.divide(Decimal(ns), Decimal(NS_PER_HOUR)).quantize(_STEP, context=_EXACT)


def difference(before: Rating, after: Rating) -> tuple[RatedLine, ...]:
    """What must be charged besides ``before`` so that the sum is ``after``: signed quantities at unchanged prices.

    For corrections of what was charged already. A line is one tenant, SKU, tier and unit price, or one adjustment.
    """
    old = {_place(line): line for line in before.charged}
    new = {_place(line): line for line in after.charged}
    both = {place: new.get(place) or old[place] for place in sorted({*old, *new})}
    changed = (_priced(line, less(_amount(new.get(place)), _amount(old.get(place)))) for place, line in both.items())
    return tuple(line for line in changed if line.quantity)


def _charge(tenant: str, sku: Sku, sums: Sequence[UsageSum]) -> Iterator[RatedLine]:
    total = quantity(sum(each.ns for each in sums))
    models = tuple(sorted({each.gpu_model for each in sums}))
    parameters = tuple(_resolved(sku, sums))
    for number, tier in enumerate(sku.tiers):
        behind = sku.tiers[number + 1].start if number + 1 < len(sku.tiers) else total
        part = less(min(total, behind), tier.start)
        if part > 0 or (total < 0 and number == 0):
            whole = total if total < 0 else part
            line = RatedLine(tenant, sku.name, number + 1, sku.unit, whole, tier.price, whole, models, parameters)
            yield _priced(replace(line, meter=sku.meter), whole)


def _priced(line: RatedLine, amount: Decimal) -> RatedLine:
    return replace(line, quantity=amount, cost=_EXACT.multiply(amount, line.unit_price))


def _resolved(sku: Sku, sums: Sequence[UsageSum]) -> list[Resolved]:
    """Every value that a parameter had, with its source: usage of several values makes one line all the same."""
    found = {resolve(parameter, dict(each.tags)) for parameter in sku.parameters for each in sums}
    return sorted(found, key=lambda each: (each.name, each.value or "", each.source))


def _adjust(each: Adjustment, sku: Sku) -> RatedLine:
    amount, price = quantity(each.ns), sku.tiers[0].price
    line = RatedLine(each.tenant, sku.name, 1, sku.unit, amount, price, amount, (each.gpu_model,))
    return _priced(replace(line, meter=sku.meter, adjustment=each.id), amount)


def _first_meter(catalogue: Catalogue) -> str:
    """The same time by several meters is told once, by the first of them."""
    return next(iter(catalogue.meters), "")


def _order(each: UsageSum) -> tuple[str, str, tuple[tuple[str, str], ...], int, str]:
    return each.tenant, each.gpu_model, each.tags, each.ns, each.why


def _mismatches(sums: Iterable[UsageSum], catalogue: Catalogue) -> list[Mismatch]:
    wrong: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    first = _first_meter(catalogue)
    for each in sums:
        said = dict(each.tags).get(catalogue.sku_tag) if each.meter == first else None
        if said is not None and not is_what_it_was_sold_as(catalogue, said, each.gpu_model):
            wrong[each.tenant, said, each.gpu_model] += each.ns
    return [Mismatch(*names, ns) for names, ns in sorted(wrong.items())]


def _place(line: RatedLine) -> tuple[str, str, int, str, Decimal]:
    return line.tenant, line.sku, line.tier, line.adjustment, line.unit_price


def _amount(line: RatedLine | None) -> Decimal:
    return Decimal(0) if line is None else line.quantity
