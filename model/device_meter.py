"""One device: each observation explains the time since the last one, to the nanosecond.

There are three ways in which a stretch of time is explained: somebody looked at both
ends and knows who held the device; nobody could look; or the daemon was away, and only
what was the same at both ends may be inferred.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .claiming import in_force, stretches
from .claims import Claim
from .closing import Closed, Open
from .counter import Counter
from .crew import Crew, Samples, blind, hold, infer
from .energy import Epoch, Growth, PowerIntegral, judge
from .holding import SAMPLE_HOLDS_NS, Held, Passing, Sight, carry_samples, held_between
from .interval import NS_PER_S
from .late import GRACE, Past
from .plain import DERIVED
from .reading import Device, GapReason
from .segmenter import Add, Segmenter
from .tally import CROWDED, GONE, Tally, sharers_of
from .usage import EnergySource
from .workload import Holder, NewRules, ProcessId, Workload

MAX_INFERRED_NS = 24 * 3600 * NS_PER_S
"""Over more than a day nothing is inferred."""

RESUME_WITHIN_NS = 60 * NS_PER_S
"""How long a new life waits for a driver that starts slowly before it gives up what the former one saw."""

PATIENCE = 3
"""Intervals over which one reading may hold; beyond that it is a gap, not an extrapolation."""

Pieces = list[tuple[int, int, Add, tuple[Holder, ...]]]
"""Stretches in order, from and until, how each is booked, and who was seen to hold the device."""


@dataclass(slots=True)
class DeviceMeter:
    """Folds sights and gaps of one device into segments. Reads no clock: the wiring hands it each instant."""

    book: Segmenter
    sight: Sight | None = None
    """The last good reading, as long as it may still hold."""
    gap_reason: GapReason | None = None
    told: tuple[Claim, ...] = ()
    """The claims on it, as they were told last."""
    epoch: Epoch = Epoch()
    counted_ns: int = 0
    """When its energy was read last."""
    power: PowerIntegral = field(default_factory=PowerIntegral)
    stranded: tuple[int, int] = (0, 0)
    """Of a GPU in MIG mode: compute and memory slices that no instance has."""
    ended: dict[ProcessId, int] = field(default_factory=dict[ProcessId, int])
    """Exits of those in ``sight``, in CLOCK_BOOTTIME, until a later good reading is explained by them."""
    resumed: bool = field(default=False, metadata=DERIVED)
    """A former life of the daemon left ``sight``: what lies since then may only be inferred."""
    resumed_ns: int | None = field(default=None, metadata=DERIVED)
    """When this life first asked for the device."""
    crew: Crew | None = field(default=None, compare=False, metadata=DERIVED)
    """Who was booked last: worked out again from the holders whenever it does not fit."""
    past: list[Past] | None = field(default=None, compare=False, metadata=DERIVED)
    """The last stretches that were observed, for evidence that comes late."""

    @property
    def device(self) -> Device:
        return self.book.device

    def note_ended(self, ended: Mapping[ProcessId, int]) -> None:
        """Exits are told once, perhaps before the reading that lacks the process: they are kept until then."""
        if ended:
            self.ended.update(ended)

    def forget_ended(self) -> None:
        """Of those who are not in sight any more, nothing need be known."""
        if self.ended:
            held = self.sight.holders if self.sight else {}
            self.ended = {process: at_ns for process, at_ns in self.ended.items() if process in held}

    def see(
        self,
        now: Sight,
        interval_ns: int,
        rules_version: str,
        claims: tuple[Claim, ...] = (),
        otherwise: GapReason = GapReason.OVERLOAD,
    ) -> None:
        """A good reading: explains the time since the last one, or says that it was a gap.

        ``otherwise``: the reason of a gap of which nothing else is known.
        """
        if now.at_ns <= self.book.settled_ns:
            return  # it came late: what it could tell is settled already
        self.book.pace(interval_ns)
        if now.passed:
            now.passed = self._explain_late(now)
        before, too_old = self.sight, now.at_ns - self.book.settled_ns > PATIENCE * interval_ns
        quiet = not too_old and not claims and rules_version == self.book.rules_version
        if before is not None and quiet and self._goes_on(before, now):
            return
        if before is not None and self.resumed:
            self._bridge(before, now, rules_version, claims)
        elif before is None or too_old:
            self._lose(now, self.gap_reason or otherwise, claims)
        else:
            self._meter(before, now, claims)
        self.sight, self.gap_reason, self.resumed = now, None, False
        same_holders = before is not None and before.holders == now.holders
        if before is not None and same_holders:
            now.holders = before.holders  # the very ones: to be compared in no time
        if rules_version != self.book.rules_version or not (same_holders or self._may_go_on(now)):
            self.book.rules_version = rules_version
            self.book.cut()

    def change_rules(self, rules: NewRules) -> None:
        """From where the accounts stand these rules hold: another segment, for whoever they name.

        What a former life of the daemon saw stays as it was: by other rules nothing is inferred from it.
        """
        if self.resumed:
            return
        if self.sight is not None:
            # Another sight: evidence that comes late for the time before is explained with this one.
            self.sight = replace(self.sight, holders=rules.own_anew(self.sight.holders))
        self.crew = None
        self.book.rules_version = rules.version
        self.book.cut()

    def miss(self, at_ns: int, reason: GapReason, interval_ns: int, claims: tuple[Claim, ...] = ()) -> None:
        """No reading at ``at_ns``. For three intervals the next good one may still bridge; then it is a gap."""
        self.gap_reason = reason
        self.book.pace(interval_ns)
        if self.sight is not None and self._may_still_hold(at_ns, interval_ns):
            return
        if self.resumed:
            reason = GapReason.DAEMON_DOWN
        self.sight, self.resumed = None, False
        if at_ns > self.book.settled_ns:
            pieces: Pieces = [(self.book.settled_ns, at_ns, self._unobserved(reason), ())]
            self._account(pieces, at_ns, self._still(at_ns), claims)

    def count_from(self, energy_mj: int | None, epoch: Epoch) -> None:
        """Its energy is counted from where it stands now, on this scale."""
        if epoch.source is EnergySource.POWER:
            energy_mj = self.power.total_mj
        self.epoch, self.counted_ns = epoch, self.book.settled_ns
        self.book.restart_energy(energy_mj, epoch.source)

    def remove(self, at_ns: int, interval_ns: int, energy_mj: int | None) -> None:
        """It was seen to be gone: its time ends, with everybody off it."""
        if self.resumed:
            self.sight, self.resumed, self.gap_reason = None, False, GapReason.DAEMON_DOWN
        gone = Sight(at_ns, energy_mj=energy_mj, epoch=self.epoch)
        self.see(gone, interval_ns, self.book.rules_version, self.told, GapReason.DAEMON_DOWN)
        self.book.cut()

    def strand(self, device: Device, slices: tuple[int, int]) -> bool:
        """The GPU's partition, or who has which part of it, may be another from here on: whether it is."""
        if (device, slices) == (self.device, self.stranded):
            return False
        self.stranded, self.past = slices, None
        self.book.become(device)
        return True

    def take_closed(self) -> list[Closed]:
        return self.book.take_closed()

    def _may_still_hold(self, at_ns: int, interval_ns: int) -> bool:
        """Whether a good reading now or soon could yet explain the time since the last one."""
        if not self.resumed:
            return at_ns - self.book.settled_ns <= PATIENCE * interval_ns
        if self.resumed_ns is None:
            self.resumed_ns = at_ns
        return at_ns - self.resumed_ns <= RESUME_WITHIN_NS

    def _goes_on(self, before: Sight, now: Sight) -> bool:
        """As at almost every tick: nobody came or left, nobody claims it, and nothing else lies between.

        Books just what ``_meter`` would, in a third of the time; False: it has to.
        """
        book, opened = self.book, self.book.open
        if before.holders != now.holders or before.at_ns != book.settled_ns or now.at_ns >= opened.edge_ns:
            return False
        if self.resumed or now.passed or self.told or book.claims or now.at_ns - before.at_ns < SAMPLE_HOLDS_NS:
            return False
        if book.device.partition is not None or now.energy_mj is None or opened.energy_start_mj is None:
            return False
        if self._grown(now, now.energy_mj) is not Growth.ON:
            return False
        counter = book.counter(now.at_ns, now.energy_mj)
        samples = Samples(before.memory_bytes, now.sm_percent, before.utilization_percent)
        if not self._book_on(before, opened.tally, now.at_ns - before.at_ns, now.energy_mj, samples):
            return False
        touched = [(opened, before.at_ns, now.at_ns)]
        self.past = [*(self.past or ())[1 - GRACE :], Past(before, now, dict(self.ended), samples, counter, touched)]
        book.settled_ns, book.energy_mj, self.counted_ns = now.at_ns, now.energy_mj, now.at_ns
        now.holders, self.sight, self.gap_reason = before.holders, now, None
        return True

    def _book_on(self, before: Sight, tally: Tally, length_ns: int, energy_mj: int, samples: Samples) -> bool:
        """On the crew of the last tick, if it is still the one, or as idle where there is nobody."""
        spent_mj = energy_mj - (self.book.energy_mj or 0)
        if not before.holders:
            tally.add_idle(length_ns, spent_mj)
            return True
        crew = self.crew
        # Who passed by, or was told of late, may have been booked since.
        if crew is None or crew.tally is not tally or crew.holders != tuple(before.holders.values()):
            return False
        crew.add(length_ns, spent_mj, samples)
        return True

    # The three ways in which a stretch of time is explained.

    def _meter(self, before: Sight, now: Sight, claims: tuple[Claim, ...]) -> None:
        if now.at_ns - before.at_ns < SAMPLE_HOLDS_NS:
            carry_samples(before, now)
        held = held_between(before, now, self.ended)
        samples = Samples(before.memory_bytes, now.sm_percent, before.utilization_percent)
        self.book.uncertain_ns = held.uncertainty_ns
        self.book.open.tally.uncertainty_ns += held.uncertainty_ns
        pieces: Pieces = [
            (cut.start_ns, cut.end_ns, self._seen(samples, cut.holders, held), cut.holders) for cut in held.slices
        ]
        self.book.touched = []
        counter = self._account_to(now, pieces, claims, power_mw=before.power_mw)
        past = Past(before, now, dict(self.ended), samples, counter, self.book.touched)
        self.past = [*(self.past or ())[1 - GRACE :], past]
        self.book.touched, self.book.uncertain_ns = None, 0

    def _explain_late(self, now: Sight) -> tuple[Passing, ...]:
        """Takes up what came too late for its stretch; what remains belongs to the one that ends now."""
        remaining, changed = now.passed, dict[int, Open]()
        for past in self.past or ():
            late = [passing for passing in remaining if past.covers(passing)]
            if late:
                known = {p.holder.process: now.sm_percent.get(p.holder.process) for p in late}
                percents = {process: percent for process, percent in known.items() if percent is not None}
                changed |= {id(opened): opened for opened in past.explain_anew(late, percents, self._seen)}
                remaining = tuple(passing for passing in remaining if not past.covers(passing))
        for opened in changed.values():
            self.book.revise(opened)  # once, whatever there was to say of it
        return remaining

    def _lose(self, now: Sight, reason: GapReason, claims: tuple[Claim, ...]) -> None:
        self._account_to(now, [(self.book.settled_ns, now.at_ns, self._unobserved(reason), ())], claims)

    def _bridge(self, before: Sight, now: Sight, rules_version: str, claims: tuple[Claim, ...]) -> None:
        """The daemon was away. Only who was there at both ends, unchanged, is credited, and it is marked so."""
        away_ns = now.at_ns - self.book.settled_ns
        near = away_ns <= MAX_INFERRED_NS and rules_version == self.book.rules_version
        kept = tuple(h for p, h in before.holders.items() if near and _unchanged(h, now.holders.get(p)))
        if now.holders.keys() != before.holders.keys():
            self.book.uncertain_ns = away_ns
            self.book.open.tally.uncertainty_ns += away_ns
        holds = bool(kept) and self.device.partition is None  # a GPU in MIG mode is held by nobody
        add = self._inferred(before, kept) if holds else self._unobserved(GapReason.DAEMON_DOWN)
        self._account_to(now, [(self.book.settled_ns, now.at_ns, add, ())], claims)
        self.book.uncertain_ns = 0

    # What is booked for a piece of such a stretch.

    def _seen(self, samples: Samples, holders: tuple[Holder, ...], held: Held) -> Add:
        def add(tally: Tally, length_ns: int, energy_mj: int) -> None:
            if self.device.partition is not None:
                self._strand(tally, length_ns)
                tally.idle_energy_mj += energy_mj
            elif holders or tally.claims:
                self._crew_of(tally, holders).add(length_ns, energy_mj, samples)
                if held.edges:
                    tally.note_edges(holders, held.edges)
            else:
                tally.add_idle(length_ns, energy_mj)

        return add

    def _unobserved(self, reason: GapReason) -> Add:
        def add(tally: Tally, length_ns: int, energy_mj: int) -> None:
            if self.device.partition is not None:
                self._strand(tally, length_ns)
                tally.unobserved_energy_mj += energy_mj
            elif tally.claims:
                blind(tally, reason.value).add_time(length_ns, energy_mj)
            else:
                tally.add_unobserved(length_ns, energy_mj, reason)

        return add

    def _inferred(self, before: Sight, kept: tuple[Holder, ...]) -> Add:
        still = {holder.workload for holder in kept}
        expected = sharers_of(tuple(before.holders.values()))
        sharers = tuple(w if w in still else Workload(GONE, w.subject_id) for w in expected)

        def add(tally: Tally, length_ns: int, energy_mj: int) -> None:
            infer(tally, kept, sharers, GapReason.DAEMON_DOWN.value).add_time(length_ns, energy_mj)

        return add

    def _strand(self, tally: Tally, length_ns: int) -> None:
        compute, memory = self.stranded
        tally.stranded_compute_ns += compute * length_ns
        tally.stranded_memory_ns += memory * length_ns

    def _crew_of(self, tally: Tally, holders: tuple[Holder, ...]) -> Crew:
        crew = self.crew
        if crew is None or crew.tally is not tally or crew.holders != holders:
            crew = self.crew = hold(tally, holders)
        return crew

    # Booking, claim by claim.

    def _account_to(
        self, now: Sight, pieces: Pieces, claims: tuple[Claim, ...], power_mw: int | None = None
    ) -> Counter:
        """Up to a good reading: its energy says what was spent. ``power_mw``: what held since the last one."""
        now_mj = self._energy_of(now, power_mw)
        growth = Growth.ON if now_mj is None else self._grown(now, now_mj)
        if growth is Growth.FROM_ZERO:
            self.book.restart_energy(0, now.epoch.source)
        counter = self._still(now.at_ns) if growth is Growth.ANEW else self.book.counter(now.at_ns, now_mj)
        self._account(pieces, now.at_ns, counter, claims)
        if growth is Growth.ANEW:
            self.book.restart_energy(now_mj, now.epoch.source)
        if now_mj is not None:
            self.epoch, self.counted_ns = now.epoch, now.at_ns
        return counter

    def _energy_of(self, now: Sight, power_mw: int | None) -> int | None:
        if now.epoch.source is not EnergySource.POWER:
            return now.energy_mj
        return self.power.add(power_mw or 0, now.at_ns - self.book.settled_ns)

    def _grown(self, now: Sight, now_mj: int) -> Growth:
        return judge(self.book.energy_mj, now_mj, now.at_ns - self.counted_ns, now.epoch == self.epoch)

    def _still(self, until_ns: int) -> Counter:
        return self.book.counter(until_ns, None)

    def _account(self, pieces: Pieces, until_ns: int, counter: Counter, claims: tuple[Claim, ...]) -> None:
        if len(pieces) == 1 and not (claims or self.told or self.book.claims):  # as at almost every tick
            ((from_ns, to_ns, add, _),) = pieces
            self.book.spend(from_ns, to_ns, counter, add)
            self.book.uncertain_ns = 0
            self.book.settle(until_ns, counter)
            return
        for start_ns, end_ns, active in stretches(self.told, claims, self.book.settled_ns, until_ns):
            self.book.claim(start_ns, active, counter)
            for first_ns, last_ns, add, holders in pieces:
                from_ns, to_ns = max(first_ns, start_ns), min(last_ns, end_ns)
                if len(pieces) > 1 and from_ns < to_ns and not self._owners_stay(holders):
                    self.book.cut_at(from_ns, counter)
                self.book.spend(from_ns, to_ns, counter, add)
        self.book.uncertain_ns = 0  # what begins here has no part in it
        self.book.settle(until_ns, counter)
        self.book.claim(until_ns, in_force(claims, until_ns), counter)
        self.told = claims

    def _may_go_on(self, now: Sight) -> bool:
        """Whether the open segment can take these holders: owners as before, and not too many workloads."""
        return self._owners_stay(now.holders.values()) and len(self.book.open.tally.accounts) < CROWDED

    def _owners_stay(self, holders: Iterable[Holder]) -> bool:
        """Whether whoever has an account in the open segment has it for the same owner."""
        accounts = self.book.open.tally.accounts
        booked = ((accounts.get(holder.workload), holder) for holder in holders)
        return all(account is None or account.owner == holder.owner for account, holder in booked)


def _unchanged(holder: Holder, later: Holder | None) -> bool:
    """Same pid and start (the key), same boundary (path and inode), same owner: the same user of the device."""
    return later is not None and (
        (holder.workload, holder.owner, holder.boundary, holder.boundary_inode)
        == (later.workload, later.owner, later.boundary, later.boundary_inode)
    )
