"""Which SKU a record is sold as: by its hardware's own name and by its billable parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from .catalogue import Catalogue, Parameter, Sku

FROM_CATALOGUE: Final = "catalogue"
"""The source of a value that no tag gave."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A parameter's value, and where it came from: the name of a tag, FROM_CATALOGUE, or "" if it has none."""

    name: str
    value: str | None
    source: str


def resolve(parameter: Parameter, tags: Mapping[str, str]) -> Resolved:
    """The first of the parameter's sources that the record carries, else the catalogue's own value."""
    for source in parameter.sources:
        if source in tags:
            return Resolved(parameter.name, tags[source], source)
    return Resolved(parameter.name, parameter.value, FROM_CATALOGUE if parameter.value is not None else "")


def find_sku(catalogue: Catalogue, gpu_model: str, tags: Mapping[str, str]) -> Sku | None:
    """The first SKU that fits, or None: nobody sells that."""
    return next((sku for sku in catalogue.skus if _fits(sku, gpu_model, tags)), None)


def _fits(sku: Sku, gpu_model: str, tags: Mapping[str, str]) -> bool:
    return fnmatchcase(gpu_model, sku.gpu_model) and all(
        parameter.wanted is None or resolve(parameter, tags).value == parameter.wanted for parameter in sku.parameters
    )


def is_what_it_was_sold_as(catalogue: Catalogue, said: str, gpu_model: str) -> bool:
    """Whether the hardware is of the SKU that the record names. An SKU that the catalogue lacks is never it."""
    return any(sku.name == said and fnmatchcase(gpu_model, sku.gpu_model) for sku in catalogue.skus)
