"""The daemon's end of NVML: one reading of the host per tick, whatever the driver does.

Calls into the driver can block for ever, in uninterruptible sleep, and a hung
thread cannot be ended. So they run in child processes (child.py). This file is
the loop around them: it asks, waits, looks at who is late, and starts and
dismisses whom the roster names. Which child reads what is decided in roster.py;
what a reading is made of, in host.py.

Everything the children do arrives through one epoll descriptor, and a tick in
good order is one write, one wait and one read.

When the daemon is killed, its children see their pipe end and leave by nvmlShutdown;
one that hangs, when its call returns, and until then it stays and holds the driver.
No signal comes with the daemon's death (PR_SET_PDEATHSIG): SIGKILL in the middle of a
call has frozen GPUs in the field, and none can wake one in uninterruptible sleep.
"""

import logging
import random
import signal
from collections.abc import Mapping
from contextlib import suppress

import trio

from ...model.reading import GapReason, HostReading
from .children import Children
from .clocks import boot_ns, both_clocks
from .evidence import Evidence
from .gap_log import GapLog
from .host import Host, trouble
from .marker import EVENTS
from .namespaces import check_namespaces
from .notes import Notes
from .replies import Reply, unusable
from .roster import Patience, Roster
from .spawn import Child, ChildGoneError

__all__ = ["Evidence", "NvmlProbe", "Patience", "check_namespaces"]

log = logging.getLogger(__name__)

_S = 1_000_000_000
MIN_SOFT_NS = _S // 10
"""Below this a late answer says more about a busy machine than about a driver."""


class NvmlProbe:
    """Reads this host's GPUs. One task at a time may be in ``read``, ``release`` or ``aclose``.

    ``deadline_s`` is how long a tick may take when a call hangs. ``environment`` is the
    children's, if it is not our own. ``evidence`` tells whether the driver was loaded anew.
    ``accounting``: the driver's accounting mode is to be switched on where it is off.
    """

    def __init__(
        self,
        deadline_s: float,
        *,
        patience: Patience | None = None,
        environment: Mapping[str, str] | None = None,
        evidence: Evidence | None = None,
        accounting: bool = False,
    ) -> None:
        self.driver_calls = 0
        """NVML calls in the latest tick that every tick makes, of all children together."""
        self.other_calls = 0
        """Seldom ones, and those about MIG."""
        self._deadline_ns = int(deadline_s * _S)
        self._roster = Roster(patience or Patience())
        self._host = Host(evidence)
        self._accounting = accounting
        self._events = True
        """Until a child hangs while it looks for them."""
        self._notes = Notes()
        self._gap_log = GapLog()
        self._children = Children(environment)
        self._why = GapReason.NVML_HANG
        """Of what nobody reads: the latest thing that went wrong. Mere silence is a hang."""
        self._told: str = ""
        """What was logged of it, as it is tried again every few seconds."""
        self._ids: dict[int, str] = {}
        """Devices by the index at which some child met them last."""
        self._asked: set[int] = set()
        self._answered = False

    # ---- what others see

    @property
    def child_pid(self) -> int | None:
        """The process that reads the devices now."""
        return None if self._roster.main is None else self._children[self._roster.main].pid

    @property
    def child_pids(self) -> tuple[int, ...]:
        """All of our processes, stuck and leaving ones included."""
        return tuple(child.pid for child in self._children)

    @property
    def abandoned(self) -> int:
        """How many of them hang in the driver or will not leave."""
        return self._roster.abandoned()

    @property
    def restarts(self) -> int:
        """How many ended without having been told to."""
        return self._roster.deaths

    # ---- a tick

    async def read(self, interval_ns: int) -> HostReading:
        """One tick: each known device's reading or gap. Returns within about the deadline, always.

        ``interval_ns`` is the cadence in force.
        """
        begin_ns = boot_ns()
        self.driver_calls = self.other_calls = 0
        self._answered = False
        self._asked.clear()
        soft_ns = self._soft_ns(interval_ns)
        if not self._roster.settled():
            self._take_events()  # what came between the ticks
            self._look(soft_ns, begin_ns)
        self._go_on(begin_ns)
        await self._until_answered(begin_ns, soft_ns)
        if not self._roster.settled():
            self._roster.tick_over(self._deadline_ns, boot_ns())
            self._children.dismiss(self._roster.dismissed)
        return self._reading(begin_ns, interval_ns)

    def _soft_ns(self, interval_ns: int) -> int:
        """From when on a late answer is looked into."""
        return max(min(self._deadline_ns, interval_ns) // 2, min(MIN_SOFT_NS, self._deadline_ns // 2))

    async def _until_answered(self, begin_ns: int, soft_ns: int) -> None:
        end_ns, look_ns = begin_ns + self._deadline_ns, begin_ns + soft_ns
        while (awaited_ns := self._roster.awaited_until_ns(self._deadline_ns)) is not None:
            await self._children.wait(self._roster.main, min(end_ns, awaited_ns, look_ns))
            self._take_events()
            now_ns = boot_ns()
            if self._roster.settled() or now_ns >= end_ns:
                return
            if now_ns >= awaited_ns:
                self._roster.tick_over(self._deadline_ns, now_ns)
            if now_ns >= look_ns:
                self._look(soft_ns, now_ns)
                look_ns = now_ns + soft_ns // 2
            self._go_on(now_ns)

    def _look(self, soft_ns: int, now_ns: int) -> None:
        """At everybody who is late. One device may take half of what all may before somebody looks."""
        for number in self._roster.late():
            child = self._children[number]
            where = child.where()
            if self._roster.looked(number, where, soft_ns // 2, now_ns):
                self._why = GapReason.NVML_HANG
                self._events = self._events and where.stage != EVENTS
                log.warning("NVML process %d hangs: %s; going on without it", child.pid, where)

    def _go_on(self, now_ns: int) -> None:
        """Starts whom the roster wants, and asks the main child once a tick."""
        skip = self._roster.wanted(len(self._host), now_ns)
        if skip is not None:
            self._start(skip, now_ns)
        main = self._roster.idle_main()
        if main is not None and main not in self._asked:
            self._ask(self._children[main], self._roster.skip())
            self._roster.asked(main, now_ns)

    def _reading(self, begin_ns: int, interval_ns: int) -> HostReading:
        otherwise = GapReason.GPU_LOST if self._answered else self._why
        suspects = dict.fromkeys(self._suspects(), GapReason.NVML_HANG)
        if self._roster.closed:
            otherwise, suspects = GapReason.RELEASED, {}
        readings = self._host.take_readings(suspects, otherwise, self._roster.asked_ns(begin_ns))
        self._gap_log.tell(readings, self._host.cause)
        now_ns, wall_ns = both_clocks()
        return HostReading(
            boot_ns=now_ns,
            wall_ns=wall_ns,
            interval_ns=interval_ns,
            readings=readings,
            devices=self._host.devices,
            driver_calls=self.driver_calls,
            trouble=trouble(readings, otherwise),
            xids=self._host.xids.take(),
            rejected=self._host.rejected,
        )

    def _suspects(self) -> list[str]:
        return [self._ids[index] for index in self._roster.skip() if index in self._ids]

    # ---- children

    def _start(self, skip: frozenset[int], now_ns: int) -> None:
        try:
            child = self._children.start(self._accounting, self._events)
        except OSError as error:
            log.error("cannot start a process for NVML: %s", error.strerror)
            self._roster.not_started(now_ns, random.randrange(1001))
            return
        self._roster.started(child.number, skip, now_ns)
        self._ask(child, skip)

    def _ask(self, child: Child, skip: frozenset[int]) -> None:
        """That it is gone is seen by its end, which is an event."""
        self._asked.add(child.number)
        with suppress(ChildGoneError):
            child.ask(skip)

    def _take_events(self) -> None:
        for child, ended in self._children.happened(self._roster.main):
            if ended:
                self._bury(child)
            else:
                self._hear(child)
        self._children.dismiss(self._roster.dismissed)

    def _hear(self, child: Child) -> None:
        try:
            reply = child.receive()
        except ChildGoneError as error:
            self._children.stop_listening(child)
            self._give_up(child, str(error))
            return
        except EOFError:
            self._children.stop_listening(child)  # it is about to end, and that is the event to wait for
            return
        if reply is not None:
            self._take_reply(child, reply)

    def _take_reply(self, child: Child, reply: Reply) -> None:
        now_ns = boot_ns()
        self.driver_calls += reply.driver_calls
        self.other_calls += reply.other_calls
        if reply.rejected:
            self._host.reject(reply.rejected)
        if reply.host is not None:
            child.met(reply.host.devices, self._host.introduced(reply.host))
            self._notes.hear(reply.host.devices)
            self._ids.update(child.device_ids)
        if reply.xids is not None:
            self._host.xids.hear(reply.xids, child.device_ids, child.number)
        sees = self._host.take_rows(reply.rows, child.device_ids, child.number)
        useless = unusable(reply, skipped=bool(self._roster.seats[child.number].skip))
        if useless is None:
            self._answered = True
            self._why, self._told = GapReason.NVML_HANG, ""
            missing = child.unopened or (len(sees) < len(self._host) and self._host.missing(self._suspects()))
            self._roster.answered(child.number, sees, missing, now_ns)
            return
        reason, words = useless
        if words != self._told:
            log.error("no GPU can be read: %s", words)
        self._why, self._told = reason, words
        self._roster.failed(child.number, now_ns)

    def _give_up(self, child: Child, why: str) -> None:
        if not self._roster.seats[child.number].leaving:
            log.error("NVML process %d %s; starting another", child.pid, why)
            self._why = GapReason.NVML_ERROR
        self._roster.broke(child.number, boot_ns(), random.randrange(1001))

    def _bury(self, child: Child) -> None:
        """Its process has ended. What it said last is heard first."""
        if self._children.may_speak(child):
            self._hear(child)
        self._give_up(child, f"ended with status {child.ended()}")
        self._roster.ended(child.number)
        self._children.let_go(child)

    # ---- letting go

    async def release(self, within_s: float) -> bool:
        """Lets go of NVML and of every device, so that a driver can be unloaded.

        Until ``resume`` each reading is a gap. False: a child that hangs still holds
        the driver after ``within_s``.
        """
        self._roster.dismiss_all(boot_ns())
        self._children.dismiss(self._roster.dismissed)
        self._host.released()
        await self._all_ended(boot_ns() + int(within_s * _S))
        return not self._children

    def resume(self) -> None:
        """Takes NVML up again with the next reading."""
        self._roster.reopen(boot_ns())

    async def aclose(self, deadline_s: float) -> None:
        """Ends every child, politely as long as there is time, and returns within ``deadline_s``.

        At first they are told to leave, at half time a signal wakes calls that can be
        woken, towards the end they are killed; one in uninterruptible sleep is left behind.
        """
        if self._children.closed:
            return
        begin_ns = boot_ns()
        self._roster.dismiss_all(begin_ns)
        self._children.dismiss(self._roster.dismissed)
        with trio.CancelScope(shield=True):
            for share, end in ((0.5, signal.SIGTERM), (0.8, signal.SIGKILL), (1.0, None)):
                await self._all_ended(begin_ns + int(share * deadline_s * _S))
                if end is not None:
                    self._children.send(end)
        for child in self._children:
            log.error("NVML process %d does not end (it hangs in the driver): leaving it behind", child.pid)
            self._children.let_go(child)
        self._children.close()

    async def _all_ended(self, until_ns: int) -> None:
        while self._children and boot_ns() < until_ns:
            await self._children.wait(self._roster.main, until_ns)
            self._take_events()
