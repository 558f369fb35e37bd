"""Leases and reservations kept here, beside what was metered."""

from typing import Final

from ..storage.projection_reader import Snapshot
from .asked_range import take_scope
from .leases_answer import answer_leases
from .parameters import take_number
from .reservations_answer import answer_reservations
from .routing import PAGE, RANGE, Json, Routes, Told
from .tokens import Caller, Role

_MORE: Final = ("tenant", "as_of", "scale")
_LARGEST_SCALE: Final = 12


def add_allocation(routes: Routes) -> None:
    routes.get("/v1/leases/usage", (*RANGE, *_MORE, *PAGE), _leases)
    routes.get("/v1/reservations/usage", (*RANGE, *_MORE), _reservations)


def _leases(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    page = take_number(told, "offset", 0, 0, 2**53), take_number(told, "limit", 100, 1, 1_000)
    return answer_leases(take_scope(told, seen, who), seen, page, _scale(told), alone=who.role is Role.TENANT)


def _reservations(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    return answer_reservations(take_scope(told, seen, who), seen, _scale(told))


def _scale(told: Told) -> int:
    return take_number(told, "scale", 2, 0, _LARGEST_SCALE)
