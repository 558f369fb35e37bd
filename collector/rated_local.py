"""Rating somewhere else than in the collector, by sums that it gave: the same function, the same answer."""

from collections.abc import Mapping
from typing import Any

from ..model.catalogue import Catalogue
from ..model.rating import Adjustment, Rating, UsageSum, rate
from .rated_lines import ROUNDING, Json, describe_beside, describe_catalogue, describe_rating


def sums_parameters(catalogue: Catalogue) -> dict[str, str]:
    """What GET /v1/rated/sums must be asked for this catalogue, besides the range."""
    return {"meters": ",".join(catalogue.meters), "tags": ",".join(sorted(catalogue.tags | {catalogue.sku_tag}))}


def rate_answer(answer: Mapping[str, Any], catalogue: Catalogue) -> Rating:
    """From the answer of GET /v1/rated/sums. Raises KeyError, ValueError for what is none."""
    booked = [Adjustment(each["id"], each["org"], each["gpu_model"], int(each["ns"])) for each in answer["adjustments"]]
    return rate([_sum(item) for item in answer["items"]], catalogue, booked)


def describe_local(answer: Mapping[str, Any], catalogue: Catalogue, rating: Rating, beside: Rating | None) -> Json:
    """As GET /v1/rated answers."""
    header = {name: answer[name] for name in ("range_from", "range_to", "as_of", "completeness")}
    told = {**header, "rounding": ROUNDING, "catalogue": describe_catalogue(catalogue)}
    told["rating"] = describe_rating(rating)
    return told if beside is None else {**told, "beside": describe_beside(rating, beside)}


def _sum(item: Mapping[str, Any]) -> UsageSum:
    tags = tuple(sorted((str(key), str(value)) for key, value in item["tags"].items()))
    return UsageSum(item["org"], item["gpu_model"], item["meter"], int(item["ns"]), tags)
