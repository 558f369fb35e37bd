"""Rated lines as rows of FOCUS 1.4, dataset Cost and Usage.

Columns, formats and allowed values: FOCUS specification 1.4, https://focus.finops.org. Costs are the product of the
PricingQuantity and the unit price in the same row, to the last digit; nothing is rounded but the quantity, once. A
tenant is a billing account, an SKU's tier is a price, periods are half-open and UTC.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ...model.catalogue import plain
from ...model.interval import Interval
from ...model.rating import RatedLine
from ..instants import format_instant
from ..rated_lines import money

COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "x_ChargeKey",
    "x_CorrectionOf",
)
_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Charged:
    """What all lines of one charge period have in common."""

    period: Interval
    billing_period: Interval
    provider: str
    currency: str
    version: str
    """Of the catalogue."""
    corrects: str = ""
    """The log ids between which the lines are the difference; empty: they are first charges."""
    corrected: frozenset[str] = frozenset()
    """The keys of the charges that there were."""


def focus_rows(lines: Iterable[RatedLine], charged: Charged) -> Iterator[tuple[str, ...]]:
    """A row for each line, in the order of COLUMNS; "" is FOCUS's null."""
    for line in lines:
        row = _row(line, charged)
        yield tuple(row[column] for column in COLUMNS)


def _row(line: RatedLine, charged: Charged) -> dict[str, str]:
    return {**_periods(charged), **_money(line, charged), **_service(line, charged), **_keys(line, charged)}


def _periods(charged: Charged) -> dict[str, str]:
    return {
        "BillingPeriodStart": format_instant(charged.billing_period.start_ns),
        "BillingPeriodEnd": format_instant(charged.billing_period.end_ns),
        "ChargePeriodStart": format_instant(charged.period.start_ns),
        "ChargePeriodEnd": format_instant(charged.period.end_ns),
    }


def _money(line: RatedLine, charged: Charged) -> dict[str, str]:
    cost, price, quantity = money(line.cost), plain(line.unit_price), plain(line.quantity)
    costs = dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost)
    prices = dict.fromkeys(("ListUnitPrice", "ContractedUnitPrice"), price)
    quantities = dict.fromkeys(("PricingQuantity", "ConsumedQuantity"), quantity)
    units = dict.fromkeys(("PricingUnit", "ConsumedUnit"), line.unit)
    return {**costs, **prices, **quantities, **units, "BillingCurrency": charged.currency}


def _service(line: RatedLine, charged: Charged) -> dict[str, str]:
    providers = ("HostProviderName", "InvoiceIssuerName", "ServiceProviderName")
    return {
        **dict.fromkeys(providers, charged.provider),
        "BillingAccountId": line.tenant,
        "BillingAccountName": line.tenant,
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if charged.corrects or line.adjustment else "",
        "ChargeDescription": _description(line),
        "ChargeFrequency": "Usage-Based",
        "PricingCategory": "Standard",
        "ServiceCategory": "Compute",
        "ServiceName": "GPU time",
        "ServiceSubcategory": "Other (Compute)",
        "SkuId": line.sku,
        "SkuMeter": f"GPU time, {line.meter}",
    }


def _description(line: RatedLine) -> str:
    what = f"{line.sku}: {line.meter} GPU time on {', '.join(line.gpu_models)}"
    return f"{what}, adjustment {line.adjustment}" if line.adjustment else what


def _keys(line: RatedLine, charged: Charged) -> dict[str, str]:
    first = charge_key(line, charged, "")
    details = {"x_catalogue": charged.version, "x_gpuModels": ", ".join(line.gpu_models), "x_tier": line.tier}
    return {
        "SkuPriceId": f"{charged.version}/{line.sku}/{line.tier}",
        "SkuPriceDetails": json.dumps(details, sort_keys=True, ensure_ascii=False),
        "x_ChargeKey": charge_key(line, charged, charged.corrects),
        "x_CorrectionOf": first if first in charged.corrected else "",
    }


def charge_key(line: RatedLine, charged: Charged, corrects: str) -> str:
    """Names a charge for ever: the same tenant, SKU, tier, price list and period, and which correction of it."""
    period = charged.period
    named = (
        line.tenant,
        line.sku,
        line.tier,
        line.adjustment,
        charged.version,
        period.start_ns,
        period.end_ns,
        corrects,
    )
    return hashlib.blake2b(json.dumps(named).encode(), digest_size=_KEY_BYTES).hexdigest()
