"""What usage costs, over HTTP: ratings, and the sums they are made of."""

from typing import Final

from .rated_answer import PARAMETERS, SUMS_PARAMETERS, answer_rated, answer_sums
from .routing import Routes

RATED: Final = "/v1/rated"
SUMS: Final = "/v1/rated/sums"


def add_money(routes: Routes) -> None:
    """A tenant's token rates its own usage only."""
    routes.get(RATED, PARAMETERS, lambda seen, told, who, _: answer_rated(told, seen, who.tenant))
    routes.get(SUMS, SUMS_PARAMETERS, lambda seen, told, who, _: answer_sums(told, seen, who.tenant))
