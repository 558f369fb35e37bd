"""When leases begin and end, in the clock that durations come from.

A lease is written in wall time and counted in CLOCK_BOOTTIME. An edge that is still
to come moves with the wall clock: if that is stepped, the lease begins or ends
when the new time says so. An edge that has come stays where it was: a clock that is
slewed or set by some seconds begins no lease twice, and unsays nothing that was counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

WRONG_CLOCK_NS: Final = 1_000 * 1_000_000_000
"""A clock that is set back by more than this was wrong, and so was what it brought. As ntpd's panic."""


@dataclass(slots=True)
class Edges:
    """Edges that have come, by wall time of each lease: CLOCK_BOOTTIME in ns, and how the wall clock lay on it then."""

    came: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict[tuple[str, int], tuple[int, int]])

    def boot_ns(self, lease_id: str, edge_ns: int, boot_ns: int, wall_ns: int, not_before_ns: int | None) -> int | None:
        """When this edge came; None: it is still to come. The two clocks were read together.

        ``not_before_ns``: an instant for which it was said that the edge had not come.
        """
        key, offset_ns = (lease_id, edge_ns), wall_ns - boot_ns
        came_ns, by_offset_ns = self.came.get(key, (None, offset_ns))
        if by_offset_ns - offset_ns > WRONG_CLOCK_NS:
            del self.came[key]
            came_ns = None
        if came_ns is None and wall_ns >= edge_ns:
            came_ns = edge_ns - offset_ns
            came_ns = came_ns if not_before_ns is None else max(came_ns, not_before_ns)
            self.came[key] = came_ns, offset_ns
        return came_ns

    def keep(self, keys: Iterable[tuple[str, int]]) -> None:
        """Forgets all others: the file has changed."""
        kept = set(keys)
        self.came = {key: came_ns for key, came_ns in self.came.items() if key in kept}
