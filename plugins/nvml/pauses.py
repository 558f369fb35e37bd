"""When somebody may be started again, so that what keeps failing is not tried all the time.

All times are CLOCK_BOOTTIME in nanoseconds.
"""

from dataclasses import dataclass, field

from .backoff import Backoff
from .seat import Patience, Seat


@dataclass(slots=True)
class Starts:
    """Of the main child."""

    patience: Patience
    due_ns: int = 0
    _deaths: Backoff = field(init=False)
    _refusals: Backoff = field(init=False)
    _hangs: Backoff = field(init=False)

    def __post_init__(self) -> None:
        wait = self.patience
        self._deaths = Backoff(wait.revive_ns, wait.revive_cap_ns)
        self._refusals = Backoff(wait.retry_ns, wait.retry_cap_ns)
        self._hangs = Backoff(wait.init_ns, 16 * wait.init_ns)

    def answered(self) -> None:
        """The main child reads devices."""
        self._refusals.reset()
        self._hangs.reset()

    def refused(self, seat: Seat, now_ns: int) -> None:
        """The driver cannot be used; at once if it could be until now."""
        self.due_ns = now_ns if seat.sees else now_ns + self._refusals.next_ns()

    def hung(self, now_ns: int) -> None:
        """In nvmlInit."""
        self.due_ns = now_ns + self._hangs.next_ns()

    def died(self, seat: Seat, now_ns: int, per_mille: int) -> None:
        """Once costs no pause; who lived long did not die of its start."""
        if seat.sees and now_ns - seat.born_ns >= self.patience.proven_ns:
            self._deaths.reset()
        first = self._deaths.tries == 0
        pause_ns = self._deaths.next_ns(per_mille)
        self.due_ns = now_ns if first else now_ns + pause_ns

    def failed(self, now_ns: int, per_mille: int) -> None:
        """The system refused a process."""
        self.due_ns = now_ns + self._deaths.next_ns(per_mille)


@dataclass(slots=True)
class Search:
    """Of the scouts that look for what the main child does not see."""

    patience: Patience
    doubted: set[int] = field(default_factory=set[int])
    """Devices that are left out until a scout has read them."""
    due_ns: int | None = None
    _renewals: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self._renewals = Backoff(self.patience.renew_ns, self.patience.renew_cap_ns)

    def plan(self, missing: bool, now_ns: int) -> None:
        """``missing``: there is something to look for."""
        if not missing and not self.doubted:
            self.due_ns = None
            self._renewals.reset()
        elif self.due_ns is None:
            self.went(now_ns)

    def went(self, now_ns: int) -> None:
        """A scout went, and the next one goes later."""
        self.due_ns = now_ns + self._renewals.next_ns()

    def is_due(self, now_ns: int) -> bool:
        return self.due_ns is not None and now_ns >= self.due_ns

    def stop(self) -> None:
        self.doubted.clear()
        self.due_ns = None
