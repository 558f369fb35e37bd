"""Which child reads which devices. Starts no process and reads no clock.

At most times one child, the *main* one, reads everything. A call into the driver
may hang for ever, and a child that hangs cannot be helped, only waited for:

- When the main child is late and stands still at a device, that device is
  *suspected*. The child keeps its seat and goes on waiting; another becomes main
  and reads everything but the suspects.
- When a stuck child answers after all, its device is healthy again. It sees more
  than the main child, so it becomes main; the other one is kept a while as a
  *spare*, so that a device that is always slow does not cost a new process a tick.
  If it does not see all that the main child sees, since a GPU was lost and came back
  meanwhile, it leaves, and a scout goes at once for what it alone could read.
- When a stuck child dies, its device stays left out (*doubted*) until a *scout*, a
  new child beside the main one, has read it.
- A device that is lost comes back only to a new initialisation. Scouts look for
  it, ever more rarely, and never disturb the child that reads the healthy ones.
  Once a scout has found it, those initialised before are of no more use.

Nobody who sees less takes over: a healthy device is no gap because of another one.
There is a bound on processes, stuck and leaving ones included; beyond it nobody is
started, and what nobody reads is a gap.
All times are CLOCK_BOOTTIME in nanoseconds.
"""

from dataclasses import dataclass, field

from .marker import IDLE, INIT, OPEN, READ, Where
from .pauses import Search, Starts
from .seat import Patience, Seat

__all__ = ["MAX_CHILDREN", "Patience", "Roster"]

MAX_CHILDREN = 9


@dataclass(slots=True)
class Roster:
    patience: Patience = field(default_factory=Patience)
    seats: dict[int, Seat] = field(default_factory=dict[int, Seat])
    main: int | None = None
    spare: int | None = None
    spare_until_ns: int = 0
    dismissed: list[int] = field(default_factory=list[int])
    """Children that are yet to be told to leave."""
    deaths: int = 0
    closed: bool = False
    """Nobody is started any more."""
    _starts: Starts = field(init=False)
    _search: Search = field(init=False)

    def __post_init__(self) -> None:
        self._starts = Starts(self.patience)
        self._search = Search(self.patience)

    # ---- questions

    def bound(self, devices: int) -> int:
        """How many processes there may be on a host with so many known devices."""
        return min(max(devices, 1) + 1, MAX_CHILDREN)

    def skip(self) -> frozenset[int]:
        """Devices that are not to be asked for. What only a scout found hanging is not among them."""
        suspects = {seat.suspect for seat in self.seats.values() if not seat.scout}
        return frozenset(self._search.doubted.union(index for index in suspects if index is not None))

    def scout_skip(self) -> frozenset[int]:
        """The doubted ones are what a scout is for; those where somebody hangs are not."""
        return frozenset(seat.suspect for seat in self.seats.values() if seat.suspect is not None)

    def wanted(self, devices: int, now_ns: int) -> frozenset[int] | None:
        """A child should be started now, without these devices; None: nobody should."""
        if self.main is None:
            return self.skip() if self.wants_main(devices, now_ns) else None
        if self._search.due_ns is not None and self.wants_scout(devices, now_ns):
            return self.scout_skip()
        return None

    def wants_main(self, devices: int, now_ns: int) -> bool:
        free = len(self.seats) < self.bound(devices)
        return self.main is None and not self.closed and free and now_ns >= self._starts.due_ns

    def wants_scout(self, devices: int, now_ns: int) -> bool:
        due = self._search.is_due(now_ns)
        calm = self.main is not None and not self.closed and not self.seats[self.main].busy
        looking = any(s.scout and not s.leaving and s.suspect is None for s in self.seats.values())
        return due and calm and not looking and len(self.seats) < self.bound(devices)

    def settled(self) -> bool:
        """One child, idle: nothing to look after, and nothing to wait for."""
        return len(self.seats) == 1 and self.idle_main() is not None

    def idle_main(self) -> int | None:
        return self.main if self.main is not None and not self.seats[self.main].busy else None

    def late(self) -> list[int]:
        """Who has not answered yet and is still relied upon."""
        return [child for child, seat in self.seats.items() if seat.busy and not (seat.stuck or seat.leaving)]

    def asked_ns(self, now_ns: int) -> int:
        """Since when what nobody reads is unknown: when the main child was asked what it has not answered."""
        main = self.main
        return now_ns if main is None else min(now_ns, self.seats[main].asked_ns)

    def awaited_until_ns(self, deadline_ns: int) -> int | None:
        """When the first of those awaited has had its deadline; None when nobody is."""
        return min((seat.asked_ns + deadline_ns for seat in self._awaited()), default=None)

    def abandoned(self) -> int:
        """Children that hang in the driver or will not leave."""
        return sum(seat.stuck or (seat.leaving and seat.overdue) for seat in self.seats.values())

    # ---- what happens

    def started(self, child: int, skip: frozenset[int], now_ns: int) -> None:
        """A child was started without the devices ``skip`` and asked for its first reading."""
        scout = self.main is not None
        self.seats[child] = Seat(skip, now_ns, now_ns, scout=scout)
        if scout:
            self._search.went(now_ns)
        else:
            self.main = child

    def not_started(self, now_ns: int, per_mille: int) -> None:
        """The system refused a process."""
        self._starts.failed(now_ns, per_mille)
        if self._search.due_ns is not None:
            self._search.due_ns = self._starts.due_ns

    def asked(self, child: int, now_ns: int) -> None:
        seat = self.seats[child]
        seat.busy, seat.asked_ns = True, now_ns

    def answered(self, child: int, sees: frozenset[int], missing: bool, now_ns: int) -> None:
        """It read the devices ``sees``; ``missing``: some device beside the suspects gave no reading."""
        seat = self.seats[child]
        seat.suspect, seat.stuck = None, False
        if seat.leaving:
            return
        seat.busy = seat.overdue = False
        seat.sees = sees
        if child != self.main:
            self._compare(child, now_ns)
        if child == self.main:
            self._starts.answered()
            self._search.plan(missing, now_ns)

    def failed(self, child: int, now_ns: int) -> None:
        """It says that the driver cannot be used. It will not be able to, ever."""
        seat = self.seats[child]
        seat.suspect, seat.stuck = None, False
        was_main = child == self.main
        self._dismiss(child, now_ns)
        if was_main:
            self._drop_spare(now_ns)
            self._starts.refused(seat, now_ns)

    def broke(self, child: int, now_ns: int, per_mille: int) -> None:
        """It ended, or speaks nonsense; ``per_mille`` (0 to 1000) spreads the next start."""
        seat = self.seats[child]
        if seat.leaving:
            return
        self.deaths += 1
        if seat.suspect is not None and not seat.scout:
            self._search.doubted.add(seat.suspect)
            self._search.plan(True, now_ns)
        was_main = child == self.main
        self._dismiss(child, now_ns)
        if was_main:
            self._starts.died(seat, now_ns, per_mille)
            self._take_spare(seat, now_ns)

    def ended(self, child: int) -> None:
        """Its process is gone. Whoever did not leave, broke before."""
        del self.seats[child]

    def looked(self, child: int, where: Where, late_ns: int, now_ns: int) -> bool:
        """A child that is late was looked at. True: it is stuck, and another one is needed.

        ``late_ns`` is how long one device may take before it is suspected.
        """
        seat = self.seats[child]
        if now_ns - where.since_ns < self._allowed_ns(where.stage, late_ns):
            return False
        seat.stuck = True
        seat.suspect = where.device if where.stage in (OPEN, READ) else None
        if where.stage == INIT:
            self._starts.hung(now_ns)
        if child == self.main:
            self.main = None
            self._take_spare(seat, now_ns)
        return True

    def tick_over(self, deadline_ns: int, now_ns: int) -> None:
        """The tick ends. Who has been asked a deadline ago is waited for no more."""
        for seat in self.seats.values():
            if seat.busy and now_ns - seat.asked_ns >= deadline_ns:
                seat.overdue = True
        if self.spare is not None and now_ns >= self.spare_until_ns:
            self._drop_spare(now_ns)

    def dismiss_all(self, now_ns: int) -> None:
        """Everybody leaves: NVML is to be let go of."""
        self.closed = True
        for child in self.seats:
            self._dismiss(child, now_ns)
        self._search.stop()

    def reopen(self, now_ns: int) -> None:
        self.closed = False
        self._starts.due_ns = now_ns

    # ---- inside

    def _awaited(self) -> list[Seat]:
        """Who may still answer within this tick: the main child, and one that was just found stuck."""
        return [
            seat
            for child, seat in self.seats.items()
            if (child == self.main or (seat.stuck and not seat.scout))
            and seat.busy
            and not (seat.overdue or seat.leaving)
        ]

    def _allowed_ns(self, stage: int, late_ns: int) -> int:
        if stage == INIT:
            return self.patience.init_ns
        if stage == OPEN:
            return self.patience.open_ns
        return 0 if stage == IDLE else late_ns

    def _compare(self, child: int, now_ns: int) -> None:
        main, seat = self.main, self.seats[child]
        if main is not None and not seat.outdoes(self.seats[main]):
            self._scout_for(seat, self.seats[main], now_ns)
            self._retire(child, self.seats[main], now_ns)
            return
        if seat.scout:
            self._drop_spare(now_ns)  # initialised before what the scout found was back
        if child == self.spare:
            self.spare = None
        self.main = child
        seat.scout = False
        self._search.doubted &= seat.skip
        if main is not None and not self.seats[main].busy:
            self._retire(main, seat, now_ns)

    def _scout_for(self, returned: Seat, main: Seat, now_ns: int) -> None:
        """What only the one that goes can read. Not for scouts: they would call for each other for ever."""
        alone = returned.sees - main.sees
        if alone and not returned.scout:
            self._search.doubted |= alone & main.skip
            self._search.due_ns = now_ns

    def _retire(self, child: int, main: Seat, now_ns: int) -> None:
        seat = self.seats[child]
        if self.spare is not None or seat.scout or not main.sees - seat.skip <= seat.sees:
            self._dismiss(child, now_ns)
            return
        self.spare = child
        self.spare_until_ns = now_ns + self.patience.spare_ns

    def _take_spare(self, last: Seat, now_ns: int) -> None:
        """Instead of the ``last`` main child, unless it sees less."""
        if self.spare is None:
            return
        seat, skip = self.seats[self.spare], self.skip()
        if seat.skip <= skip and last.sees - skip <= seat.sees:
            self.main, self.spare = self.spare, None
        else:
            self._drop_spare(now_ns)

    def _drop_spare(self, now_ns: int) -> None:
        if self.spare is not None:
            self._dismiss(self.spare, now_ns)

    def _dismiss(self, child: int, now_ns: int) -> None:
        seat = self.seats[child]
        if child == self.main:
            self.main = None
        if child == self.spare:
            self.spare = None
        if not seat.leaving:
            seat.leaving = seat.busy = True  # busy leaving
            seat.asked_ns = now_ns
            self.dismissed.append(child)
