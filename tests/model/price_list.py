"""A price list for tests, as somebody would write it."""

import tomllib
from decimal import Decimal
from functools import cache

from gputally.collector.instants import parse_instant
from gputally.model.catalogue import Catalogue
from gputally.model.catalogue_read import read_catalogue

GOLDEN = """
version = "2025-a"
currency = "USD"
effective_from = "2025-01-01T00:00:00Z"
provider = "Example GPU Cloud"
[[skus]]
name = "Small"
gpu_model = "NVIDIA L40"
price = "1.25"
[[skus]]
name = "Medium"
gpu_model = "NVIDIA A100*"
price = 2.10
[[skus]]
name = "Large"
gpu_model = "NVIDIA H100*"
price = "3.90"
"""


@cache
def catalogue(text: str = GOLDEN) -> Catalogue:
    return read_catalogue(tomllib.loads(text, parse_float=Decimal), "prices.toml", parse_instant)
