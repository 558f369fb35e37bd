"""How long the host was up, window by window, in one boot. A daemon that was away changes nothing of that."""

from dataclasses import dataclass, field

from .interval import Interval
from .usage import ClockState, HostWindow
from .window import window_start_ns


@dataclass(slots=True)
class Uptime:
    """Rows without hole or overlap from the first reading of a boot on."""

    start_ns: int | None = None
    now_ns: int = 0
    offset_ns: int = 0
    length_ns: int = 0
    clock: ClockState = ClockState.UNKNOWN
    closed: list[HostWindow] = field(default_factory=list[HostWindow])

    def reach(self, now_ns: int, offset_ns: int, length_ns: int, clock: ClockState) -> None:
        """The host is up at ``now_ns`` (CLOCK_BOOTTIME); ``offset_ns`` leads to the wall clock."""
        if self.start_ns is not None and (offset_ns, length_ns) != (self.offset_ns, self.length_ns):
            self.cut()
        self.offset_ns, self.length_ns, self.clock = offset_ns, length_ns, clock
        if self.start_ns is None:
            self.start_ns = now_ns
        self.now_ns = max(now_ns, self.now_ns)
        while (edge_ns := self._edge_ns(self.start_ns)) <= self.now_ns:
            self._close(edge_ns)

    def cut(self) -> None:
        """The open row ends where the host was last known to be up."""
        if self.start_ns is not None and self.start_ns < self.now_ns:
            self._close(self.now_ns)

    def take_closed(self) -> list[HostWindow]:
        taken, self.closed = self.closed, []
        return taken

    def _edge_ns(self, start_ns: int) -> int:
        return window_start_ns(start_ns + self.offset_ns, self.length_ns) + self.length_ns - self.offset_ns

    def _close(self, end_ns: int) -> None:
        assert self.start_ns is not None
        wall_ns = self.start_ns + self.offset_ns
        boot = Interval(self.start_ns, end_ns)
        window_ns = window_start_ns(wall_ns, self.length_ns)
        self.closed.append(HostWindow(boot, wall_ns, window_ns, self.length_ns, self.clock))
        self.start_ns = end_ns
