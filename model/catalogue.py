"""What GPU time costs: one version of a price list, as a value.

A version says from when on it holds, in which currency, and for each SKU which hardware it is, what of a record
is counted, and the price per unit, in graduated tiers. Prices are decimals, never floats. The version travels in the
ledger as ``canonical_body``: the same version is the same bytes on every machine.
"""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

GPU_HOURS: Final = "GPU-Hours"
ALLOCATED: Final = "allocated"
METERS: Final = (ALLOCATED, "allocated_memory", "held", "busy")
"""What of a record an SKU may count; the names of the usage API."""


@dataclass(frozen=True, slots=True)
class Tier:
    """From this quantity on (in units, per tenant, SKU and period) a further unit costs ``price``."""

    start: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class Parameter:
    """A billable parameter: the first tag of ``sources`` that a record carries, else ``value``.

    Tags are what rules and leases of the operator gave the record, by names such as ``label.pool`` or
    ``annotation.pool``. ``value`` is the catalogue's own word; None: the parameter has no value then.
    ``wanted``: the SKU stands only for records whose parameter is this; None: for all, and the value is only shown.
    """

    name: str
    sources: tuple[str, ...]
    value: str | None = None
    wanted: str | None = None


@dataclass(frozen=True, slots=True)
class Sku:
    """One thing that is sold. ``gpu_model`` is a glob over the hardware's own name."""

    name: str
    gpu_model: str
    tiers: tuple[Tier, ...]
    """At least one; the first starts at 0, each later than the one before."""
    meter: str = ALLOCATED
    unit: str = GPU_HOURS
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A version of the price list. The first SKU that fits a record is it."""

    version: str
    currency: str
    """ISO 4217."""
    effective_from_ns: int
    skus: tuple[Sku, ...]
    effective_to_ns: int | None = None
    """Half-open; None: until a later version starts."""
    provider: str = ""
    """Who sells, for exports that must name it."""
    sku_tag: str = "sku"
    """The tag by which a record may say as which SKU it was sold; it is held against the hardware, never billed by."""
    tags: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())
    """All tags that parameters look at."""

    def __post_init__(self) -> None:
        looked_at = {source for sku in self.skus for parameter in sku.parameters for source in parameter.sources}
        object.__setattr__(self, "tags", frozenset(looked_at))

    @property
    def meters(self) -> tuple[str, ...]:
        """The meters that its SKUs count, in a fixed order."""
        used = {sku.meter for sku in self.skus}
        return tuple(meter for meter in METERS if meter in used)


def canonical_body(catalogue: Catalogue) -> bytes:
    """The version as JSON: keys sorted, no blanks, UTF-8, numbers as texts in their shortest plain form.

    ``catalogue_read.read_catalogue`` of these bytes gives an equal catalogue. Fields at their defaults are left
    out, so that a later field changes no older body.
    """
    told: dict[str, Any] = {
        "version": catalogue.version,
        "currency": catalogue.currency,
        "effective_from_ns": str(catalogue.effective_from_ns),
        "skus": [_sku(sku) for sku in catalogue.skus],
    }
    if catalogue.effective_to_ns is not None:
        told["effective_to_ns"] = str(catalogue.effective_to_ns)
    told |= _unless_default(provider=(catalogue.provider, ""), sku_tag=(catalogue.sku_tag, "sku"))
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def plain(amount: Decimal, at_least: int = 0) -> str:
    """A decimal without exponent and without needless zeros, but with ``at_least`` places."""
    text = f"{amount:f}"
    whole, _, places = text.partition(".")
    places = places.rstrip("0").ljust(at_least, "0")
    told = f"{whole}.{places}" if places else whole
    return told.removeprefix("-") if not amount else told


def _sku(sku: Sku) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": sku.name,
        "gpu_model": sku.gpu_model,
        "tiers": [{"from": plain(tier.start), "price": plain(tier.price)} for tier in sku.tiers],
    }
    told |= _unless_default(meter=(sku.meter, ALLOCATED), unit=(sku.unit, GPU_HOURS))
    return told | ({"parameters": [_parameter(each) for each in sku.parameters]} if sku.parameters else {})


def _parameter(parameter: Parameter) -> dict[str, Any]:
    told: dict[str, Any] = {"name": parameter.name, "from": list(parameter.sources)}
    return told | _unless_default(value=(parameter.value, None), wanted=(parameter.wanted, None))


def _unless_default(**values: tuple[Any, Any]) -> dict[str, Any]:
    return {name: value for name, (value, default) in values.items() if value != default}
