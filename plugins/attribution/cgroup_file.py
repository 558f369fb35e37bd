"""Reading the text of /proc/PID/cgroup: one line on v2, one for each hierarchy on v1, both on hybrid hosts.

``ID:CONTROLLERS:PATH``; see cgroups(7). The kernel refuses newlines in names, so a
tenant cannot add a line.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .place import Place, locate

UNIFIED: Final = ""
"""What the v2 hierarchy is called in its line."""

_PREFERRED: Final = ("devices", "memory", "cpu", "pids", "name=systemd", UNIFIED)
_DELETED: Final = " (deleted)"
_MOST_LINES: Final = 64


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a process sits: ``path`` in ``hierarchy``, which is the line's own list of controllers."""

    place: Place
    path: str
    hierarchy: str
    deleted: bool = False
    """The group is gone and the process outlived it: who owned it before, still does."""


@lru_cache(maxsize=64)  # processes of one workload share their text, and they come and go together
def find_seat(raw: bytes) -> Seat | None:
    """The seat that decides: of the hierarchies in order of preference, the first whose path names an owner.

    None where nothing may be concluded: no line at all, or one that lies
    outside our cgroup namespace. Never raises, whatever the bytes are.
    """
    seats: list[Seat] = []
    for hierarchy, path in _preferred(_read_lines(raw)):
        seat = _seat(hierarchy, path)
        if seat is None:
            return None
        if seat.place.names_owner:
            return seat
        seats.append(seat)
    return min(seats, key=lambda seat: seat.place.workload.is_host, default=None)


def _read_lines(raw: bytes) -> dict[str, str]:
    """Path by list of controllers. Bytes that are no UTF-8 become ``\\xNN``, so that every path is text."""
    lines = raw.decode(errors="backslashreplace").split("\n", _MOST_LINES)[:_MOST_LINES]
    fields = [line.split(":", 2) for line in lines]
    return {each[1]: each[2] for each in fields if len(each) == 3}


def _preferred(paths: dict[str, str]) -> list[tuple[str, str]]:
    by_controller = {one: (many, path) for many, path in paths.items() for one in many.split(",")}
    return [by_controller[name] for name in _PREFERRED if name in by_controller]


def _seat(hierarchy: str, path: str) -> Seat | None:
    kept = path.removesuffix(_DELETED)
    place = locate(kept)
    return Seat(place, kept, hierarchy, kept != path) if place else None
