"""A rating as JSON and as text: amounts are texts, so that no reader makes floats of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from ..model.billable import Resolved
from ..model.catalogue import Catalogue, plain
from ..model.rating import PLACES, Mismatch, RatedLine, Rating, UsageSum, less, sum_of
from .instants import format_instant

Json = dict[str, Any]
_CENTS: Final = 2
"""Amounts of money show at least so many places; never fewer than they have."""
ROUNDING: Final = {"mode": "half_up", "scale": PLACES, "stage": "quantity"}


def describe_catalogue(catalogue: Catalogue) -> Json:
    end_ns = catalogue.effective_to_ns
    return {
        "version": catalogue.version,
        "currency": catalogue.currency,
        "effective_from": format_instant(catalogue.effective_from_ns),
        "effective_to": None if end_ns is None else format_instant(end_ns),
    }


def describe_rating(rating: Rating) -> Json:
    """Lines, sums per tenant, and everything that is in no total, with its reason."""
    return {
        "version": rating.version,
        "currency": rating.currency,
        "items": [_line(line) for line in rating.lines],
        "adjustments": [{"id": line.adjustment, **_line(line)} for line in rating.adjustments],
        "totals_by_org": {org: money(total) for org, total in totals_by_org(rating.charged).items()},
        "total": money(rating.total),
        "unattributed": [_line(line) | _late(line) for line in rating.unattributed],
        "unpriced": [_unpriced(each) for each in rating.unpriced],
        "mismatches": [_mismatch(each) for each in rating.mismatches],
    }


def describe_beside(rating: Rating, beside: Rating) -> Json:
    """A dry run: the other version's lines, and what each tenant would pay more (or less, with a minus)."""
    before, after = totals_by_org(rating.charged), totals_by_org(beside.charged)
    more = {org: less(after.get(org, Decimal(0)), before.get(org, Decimal(0))) for org in sorted({*before, *after})}
    return {
        **describe_rating(beside),
        "difference_by_org": {org: money(amount) for org, amount in more.items()},
        "difference": money(less(beside.total, rating.total)),
    }


def totals_by_org(lines: Iterable[RatedLine]) -> Mapping[str, Decimal]:
    by_org: defaultdict[str, list[RatedLine]] = defaultdict(list)
    for line in lines:
        by_org[line.tenant].append(line)
    return {org: sum_of(of_it) for org, of_it in by_org.items()}


def money(amount: Decimal) -> str:
    return plain(amount, _CENTS)


def _line(line: RatedLine) -> Json:
    return {
        "org": line.tenant,
        "sku": line.sku,
        "gpu_models": list(line.gpu_models),
        "meter": line.meter,
        "unit": line.unit,
        "tier": line.tier,
        "quantity": f"{line.quantity:f}",
        "unit_price": money(line.unit_price),
        "cost": money(line.cost),
        "parameters": [_parameter(each) for each in line.parameters],
    }


def _late(line: RatedLine) -> Json:
    return {"id": line.adjustment} if line.adjustment else {}


def _parameter(each: Resolved) -> Json:
    return {"name": each.name, "value": each.value, "source": each.source or None}


def _unpriced(each: UsageSum) -> Json:
    told = {"org": each.tenant, "gpu_model": each.gpu_model, "meter": each.meter, "ns": str(each.ns)}
    return told | {"why": each.why or "no SKU fits"}


def _mismatch(each: Mismatch) -> Json:
    return {"org": each.tenant, "sold_as": each.said, "gpu_model": each.gpu_model, "ns": str(each.ns)}


def to_text(told: Json) -> str:
    """Aligned columns, the total below, and what is in no total below that."""
    rating, currency = told["rating"], told["rating"]["currency"]
    rows: list[tuple[str, ...]] = [("ORG", "SKU", "TIER", "QUANTITY", "PRICE", "COST")]
    rows += [_row(line) for line in rating["items"]]
    rows += [
        (line["org"], f"{line['sku']} (adjustment {line['id']})", *_row(line)[2:]) for line in rating["adjustments"]
    ]
    rows.append(("TOTAL", "", "", "", currency, rating["total"]))
    return "".join([*_aligned(rows), *_remarks(rating), *_dry_run(told), f"\n{_summary(told)}\n"])


def _row(line: Json) -> tuple[str, ...]:
    return line["org"], line["sku"], str(line["tier"]), line["quantity"], line["unit_price"], line["cost"]


def _aligned(rows: list[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(w) if n < 2 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))]
        yield "  ".join(cells).rstrip() + "\n"


def _remarks(rating: Json) -> Iterable[str]:
    for each in rating["unattributed"]:
        yield f"not charged: unattributed: {each['quantity']} {each['unit']} of {each['sku']} ({each['cost']})\n"
    for each in rating["unpriced"]:
        yield f"not priced: {each['org']}: {each['ns']} ns of {each['gpu_model']}: {each['why']}\n"
    for each in rating["mismatches"]:
        yield f"mismatch: {each['org']}: sold as {each['sold_as']}, is {each['gpu_model']}: {each['ns']} ns\n"


def _dry_run(told: Json) -> Iterable[str]:
    beside = told.get("beside")
    if beside is None:
        return
    yield f"\nbeside {beside['version']}: total {beside['total']} {beside['currency']} ({beside['difference']})\n"
    for org, amount in beside["difference_by_org"].items():
        yield f"  {org}: {amount}\n"


def _summary(told: Json) -> str:
    state = told["completeness"]["state"]
    return f"catalogue {told['rating']['version']}, {told['range_from']} to {told['range_to']}: {state}"
