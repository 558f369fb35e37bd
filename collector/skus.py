"""Which SKU a GPU model is sold as. Only the collector knows; the first that matches is it."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from .config import SkuConfig

UNASSIGNED: Final = "unassigned"


def sku_of(gpu_model: str, skus: Sequence[SkuConfig]) -> str:
    """The name of the first SKU whose glob matches ``gpu_model``, or UNASSIGNED."""
    return next((sku.name for sku in skus if fnmatchcase(gpu_model, sku.gpu_model)), UNASSIGNED)
