"""Who had how much of each device, as metered and as it was."""

from collections import Counter as Count
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from .ledger import Row, place_of, subject
from .reach import Reach, within
from .script import MS, Script, Use
from .truth import UNATTRIBUTED, Shares, Truth

Subject = tuple[str, str]
QUALITIES = 3
"""Observed, inferred and blind time of one set is rounded apart."""
SAMPLED_NS = 250 * MS
"""Whoever holds a device for so long is in the driver's buffer of samples, and was looked at while alive."""


@dataclass(slots=True)
class Court:
    """Tries a ledger's rows against the truth; counts what it has seen."""

    script: Script
    compared: int = 0
    exact: int = 0
    device_ns: int = 0
    inferred_ns: int = 0
    unobserved_ns: Count[str] = field(default_factory=Count[str])
    truth: Truth = field(init=False)
    reach: Reach = field(init=False)

    def __post_init__(self) -> None:
        self.truth, self.reach = Truth(self.script), Reach(self.script)

    def try_rows(self, rows: Iterable[Row]) -> Iterator[str]:
        """Each segment: who had how much of it, and how much of it nobody knows."""
        for row in rows:
            if not row.segment.HasField("partition"):
                yield from (f"{place_of(self.script, row)} {what}" for what in self._try_row(row))

    def try_windows(self, rows: Iterable[Row]) -> Iterator[str]:
        """The same by tenant, over all segments of a boot that bear one window's name."""
        windows = defaultdict[tuple[str, str, int], list[Row]](list)
        for row in (row for row in rows if not row.segment.HasField("partition")):
            windows[row.device_id, row.boot_id, row.segment.window_start_ns].append(row)
        for (device_id, _, window_ns), parts in windows.items():
            yield from (f"{device_id}, window {window_ns}: {what}" for what in self._try_window(parts))

    def _try_row(self, row: Row) -> Iterator[str]:
        self._count(row)
        yield from self._try_reach(row)
        shares = self.truth.shares(row.device_id, row.start_ns, row.end_ns)
        slack_ns = row.uncertainty_ns + QUALITIES * shares.sets + self._missable_ns(row) + self._late_ns(row)
        slack_ns += self._unstated_ns(row)
        yield from self._try_shares(row, shares, slack_ns)
        yield from self._try_idle(row, shares, slack_ns)
        yield from self._try_held(row, slack_ns)

    def _count(self, row: Row) -> None:
        self.device_ns += row.end_ns - row.start_ns
        self.inferred_ns += row.inferred_ns
        for gap in row.row.unobserved:
            self.unobserved_ns[gap.reason] += gap.length_ns

    def _unstated_ns(self, row: Row) -> int:
        """A segment without records has nowhere to say that somebody may have come a tick before he was seen."""
        if row.records or not self.truth.opens_late(row.device_id, row.start_ns, row.end_ns):
            return 0
        return self.reach.tick_ns

    def _late_ns(self, row: Row) -> int:
        """Who has ended before his first reading was attributed is nobody by then, and his start is not known."""
        return min(within(self.reach.late, row.start_ns, row.end_ns), self.reach.tick_ns)

    def _missable_ns(self, row: Row) -> int:
        """What those had who may have come and gone between two readings, unseen."""

        def is_missable(use: Use) -> bool:
            length_ns = use.close_ns - use.open_ns
            return length_ns < self.reach.short_ns and not self._is_told(use)

        return self.truth.held_ns(row.device_id, row.start_ns, row.end_ns, is_missable)

    def _is_told(self, use: Use) -> bool:
        """Where the kernel tells of all processes and the driver of whoever it has sampled, nobody goes unseen."""
        is_whole = use.device_id in {gpu.device_id for gpu in self.script.gpus}
        is_long_enough = use.close_ns - use.open_ns >= SAMPLED_NS
        return (
            self.script.connector
            and is_whole
            and is_long_enough
            and self.reach.is_quiet(use.device_id, use.open_ns, use.close_ns)
        )

    def _try_reach(self, row: Row) -> Iterator[str]:
        """That nobody knows may only be said where something went wrong."""
        most_ns = within(self.reach.blind[row.device_id], row.start_ns, row.end_ns)
        if row.unobserved_ns + row.blind_ns > most_ns:
            gaps = ", ".join(f"{gap.reason} {gap.length_ns}" for gap in row.row.unobserved)
            yield f"unobserved {row.unobserved_ns} ns ({gaps}), blind {row.blind_ns}, where faults reach {most_ns} ns"
        most_ns = within(self.reach.down[row.device_id], row.start_ns, row.end_ns)
        if row.inferred_ns > most_ns:
            yield f"inferred {row.inferred_ns} ns, where the daemon was away {most_ns} ns"

    def _try_shares(self, row: Row, shares: Shares, slack_ns: int) -> Iterator[str]:
        true = {subject(job): share_ns for job, share_ns in shares.jobs.items()}
        metered, nameless_ns = row.allocated(), row.nameless_ns
        unknown_ns = row.unobserved_ns + row.inferred_ns + nameless_ns
        for who in sorted(true.keys() | metered.keys()):
            # A lease is known to all from its own start to its own end, whoever looks.
            is_lease = who[0] == "lease"
            off_ns, hidden_ns = (QUALITIES * shares.sets, row.refused_ns) if is_lease else (slack_ns, unknown_ns)
            over_ns = Fraction(metered.get(who, 0)) - true.get(who, Fraction())
            inferred_ns = row.inferred_of(who)
            self._note(over_ns, shares.sets)
            if over_ns > off_ns + inferred_ns:
                yield f"{who} has {over_ns} ns more than it should; may be {off_ns} + {inferred_ns} inferred"
            if -over_ns > off_ns + hidden_ns:
                yield f"{who} has {-over_ns} ns less than it should; may be {off_ns} + {hidden_ns} nobody knows"
        late_ns = within(self.reach.late, row.start_ns, row.end_ns)
        if nameless_ns > slack_ns + late_ns:
            yield f"nobody can be named for {nameless_ns} ns; may be {slack_ns} + {late_ns}"

    def _try_idle(self, row: Row, shares: Shares, slack_ns: int) -> Iterator[str]:
        over_ns = row.row.idle_ns - shares.idle_ns
        unknown_ns = row.unobserved_ns + row.inferred_ns + row.nameless_ns
        self._note(over_ns, shares.sets)
        if over_ns > slack_ns:
            yield f"idle {over_ns} ns more than it was; may be {slack_ns}"
        if -over_ns > slack_ns + unknown_ns:
            yield f"idle {-over_ns} ns less than it was; may be {slack_ns} + {unknown_ns} nobody knows"

    def _try_held(self, row: Row, slack_ns: int) -> Iterator[str]:
        """Held time is nobody's share of anything: each workload has all of its own."""
        true = self.truth.held(row.device_id, row.start_ns, row.end_ns)
        held = {(record.workload_kind, record.workload_id): record.held_ns for record in row.records}
        unknown_ns = row.unobserved_ns + row.inferred_ns + row.nameless_held_ns + row.blind_ns
        for job, true_ns in true.items():
            over_ns = held.pop(subject(job), 0) - true_ns
            if not -slack_ns - unknown_ns <= over_ns <= slack_ns + row.inferred_of(subject(job)):
                yield f"{subject(job)} held it for {over_ns} ns more than it did"

    def _note(self, off_ns: Fraction, sets: int) -> None:
        self.compared += 1
        self.exact += abs(off_ns) < max(sets, 1)

    def _try_window(self, parts: list[Row]) -> Iterator[str]:
        true, metered, inferred = defaultdict[str, Fraction](Fraction), Count[str](), Count[str]()
        slack_ns = unknown_ns = nameless_ns = 0
        for row in parts:
            for tenant, share_ns in self.truth.tenants(row.device_id, row.start_ns, row.end_ns).items():
                true[tenant] += share_ns
            for record in row.records:
                metered[record.owner.tenant] += record.allocated_ns
                inferred[record.owner.tenant] += record.inferred_ns
            shares = self.truth.shares(row.device_id, row.start_ns, row.end_ns)
            rounded_ns = QUALITIES * shares.sets * len(shares.jobs)  # one tenant may have several of the workloads
            slack_ns += row.uncertainty_ns + self._missable_ns(row) + rounded_ns
            slack_ns += self._late_ns(row) + self._ruled_late_ns(row) + self._unstated_ns(row)
            unknown_ns += row.unobserved_ns + row.inferred_ns + row.nameless_ns
            nameless_ns += row.nameless_ns
        inferred[UNATTRIBUTED] += nameless_ns
        for tenant in sorted(true.keys() | metered.keys()):
            over_ns = metered[tenant] - true.get(tenant, Fraction())
            if not -slack_ns - unknown_ns <= over_ns <= slack_ns + inferred[tenant]:
                yield (
                    f"{tenant} is off by {over_ns} ns; may be by {slack_ns}, {unknown_ns} nobody knows, "
                    f"{inferred[tenant]} inferred"
                )

    def _ruled_late_ns(self, row: Row) -> int:
        """New rules hold from the next reading on, not from the instant at which somebody wrote them."""
        return within(self.reach.ruled, row.start_ns, row.end_ns)
