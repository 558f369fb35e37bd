"""What the ledger says against what was so: for each device, each segment, each tenant and each window."""

from collections import Counter as Count
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from ..audit import audit
from . import reach
from .host import Lived
from .ledger import Row, read_rows, subject
from .script import S, Script
from .truth import Shares, Truth


@dataclass(slots=True)
class Verdict:
    """``violations`` is what is wrong, in words; the rest is counted."""

    violations: list[str]
    windows: int = 0
    """Shares of a workload, or of nobody, in a segment of a device that were compared with the truth."""
    exact: int = 0
    """Those that are it, to the nanosecond."""
    device_ns: int = 0
    inferred_ns: int = 0
    unobserved_ns: Count[str] = field(default_factory=Count[str])


def judge(script: Script, lived: Lived) -> Verdict:
    """Everything that must hold, whatever went wrong."""
    found = Verdict([f"the auditor says: {each}" for each in audit(lived.ledger)])
    found.violations += [f"the stream forked: {why}" for why in lived.forks]
    found.violations += _check_delivery(lived)
    rows = read_rows(script, lived.ledger)
    court = Court(script, found)
    for row in rows:
        found.violations += [f"{_place(script, row)} {what}" for what in court.try_row(row)]
    found.violations += court.try_windows(rows)
    found.violations += _check_courses(script, rows)
    return found


def _check_delivery(lived: Lived) -> Iterator[str]:
    """The auditor has followed the chain: if it ends where the log ends, every frame is there once."""
    if len(lived.ledger) != lived.head_seq:
        yield f"the host wrote {lived.head_seq} frames, the collector has {len(lived.ledger)}"


def _place(script: Script, row: Row) -> str:
    device = [gpu.device_id for gpu in script.gpus].index(row.device_id)
    return f"GPU {device}, {row.start_ns / S:.3f} s to {row.end_ns / S:.3f} s ({row.boot_id}):"


class Court:
    """Tries rows against the truth; counts what it has seen."""

    def __init__(self, script: Script, verdict: Verdict) -> None:
        self._script, self._verdict = script, verdict
        self._truth = Truth(script)
        self._down = reach.down(script)
        self._blind = {gpu.device_id: reach.blind(script, gpu.device_id) for gpu in script.gpus}

    def try_row(self, row: Row) -> Iterator[str]:
        """One segment: who had how much of it, and how much of it nobody knows."""
        self._count(row)
        yield from self._try_reach(row)
        shares = self._truth.shares(row.device_id, row.start_ns, row.end_ns)
        slack_ns = row.uncertainty_ns + shares.sets
        yield from self._try_shares(row, shares, slack_ns)
        yield from self._try_idle(row, shares, slack_ns)

    def try_windows(self, rows: list[Row]) -> Iterator[str]:
        """The same by tenant, over all segments that bear one window's name."""
        windows = defaultdict[tuple[str, str, int], list[Row]](list)
        for row in rows:
            windows[row.device_id, row.boot_id, row.segment.window_start_ns].append(row)
        for (device_id, _, window_ns), parts in windows.items():
            yield from (f"{device_id}, window {window_ns}: {what}" for what in self._try_window(parts))

    def _count(self, row: Row) -> None:
        self._verdict.device_ns += row.end_ns - row.start_ns
        self._verdict.inferred_ns += row.inferred_ns
        for gap in row.row.unobserved:
            self._verdict.unobserved_ns[gap.reason] += gap.length_ns

    def _try_reach(self, row: Row) -> Iterator[str]:
        """That nobody knows may only be said where something went wrong."""
        most_ns = reach.within(self._blind[row.device_id], row.start_ns, row.end_ns)
        if row.unobserved_ns > most_ns:
            gaps = ", ".join(f"{gap.reason} {gap.length_ns}" for gap in row.row.unobserved)
            yield f"unobserved {row.unobserved_ns} ns ({gaps}), where faults reach {most_ns} ns"
        most_ns = reach.within(self._down, row.start_ns, row.end_ns)
        if row.inferred_ns > most_ns:
            yield f"inferred {row.inferred_ns} ns, where the daemon was away {most_ns} ns"

    def _try_shares(self, row: Row, shares: Shares, slack_ns: int) -> Iterator[str]:
        true = {subject(job): share_ns for job, share_ns in shares.jobs.items()}
        metered = row.allocated()
        inferred = Count[tuple[str, str]]()
        for record in row.records:
            inferred[record.workload_kind, record.workload_id] += record.inferred_ns
        for who in sorted(true.keys() | metered.keys()):
            over_ns = metered.get(who, 0) - true.get(who, Fraction())
            self._note(over_ns, shares.sets)
            if over_ns > slack_ns + inferred[who]:
                yield f"{who} has {over_ns} ns more than it should; may be {slack_ns} + {inferred[who]} inferred"
            if -over_ns > slack_ns + row.unobserved_ns + row.inferred_ns:
                yield (
                    f"{who} has {-over_ns} ns less than it should; may be {slack_ns} "
                    f"+ {row.unobserved_ns} unobserved + {row.inferred_ns} inferred"
                )

    def _try_idle(self, row: Row, shares: Shares, slack_ns: int) -> Iterator[str]:
        over_ns = row.row.idle_ns - shares.idle_ns
        self._note(over_ns, 0)
        if over_ns > slack_ns:
            yield f"idle {over_ns} ns more than it was; may be {slack_ns}"
        if -over_ns > slack_ns + row.unobserved_ns + row.inferred_ns:
            yield f"idle {-over_ns} ns less than it was; may be {slack_ns} + {row.unobserved_ns} + {row.inferred_ns}"

    def _note(self, off_ns: Fraction | int, sets: int) -> None:
        self._verdict.windows += 1
        self._verdict.exact += abs(off_ns) < max(sets, 1)

    def _try_window(self, parts: list[Row]) -> Iterator[str]:
        true, metered = defaultdict[str, Fraction](Fraction), Count[str]()
        inferred, slack_ns, unknown_ns = Count[str](), 0, 0
        for row in parts:
            for tenant, share_ns in self._truth.tenants(row.device_id, row.start_ns, row.end_ns).items():
                true[tenant] += share_ns
            for record in row.records:
                metered[record.owner.tenant] += record.allocated_ns
                inferred[record.owner.tenant] += record.inferred_ns
            slack_ns += row.uncertainty_ns + self._truth.shares(row.device_id, row.start_ns, row.end_ns).edges + 1
            unknown_ns += row.unobserved_ns + row.inferred_ns
        for tenant in sorted(true.keys() | metered.keys()):
            over_ns = metered[tenant] - true.get(tenant, Fraction())
            if not -slack_ns - unknown_ns <= over_ns <= slack_ns + inferred[tenant]:
                yield f"{tenant} is off by {over_ns} ns; may be -{slack_ns} - {unknown_ns} to {slack_ns} + inferred"


def _check_courses(script: Script, rows: list[Row]) -> Iterator[str]:
    """Each boot's rows of a device begin with its first readings and last to the end of what was seen."""
    lives = list(script.lives)
    for boot in script.boots:
        seen = [life for life in lives if boot.up_ns <= life.start_ns < boot.down_ns]
        for gpu in script.gpus:
            mine = [row for row in rows if (row.boot_id, row.device_id) == (boot.boot_id, gpu.device_id)]
            if not seen or not mine:
                if seen:
                    yield f"{gpu.device_id} has no row in {boot.boot_id}"
                continue
            late_ns = mine[0].start_ns - seen[0].start_ns
            if not 0 <= late_ns <= reach.tick_ns(script):
                yield f"{gpu.device_id} in {boot.boot_id} begins {late_ns} ns after the daemon"
            early_ns = seen[-1].end_ns - mine[-1].end_ns
            if early_ns > reach.CHECKPOINT_NS + 2 * reach.tick_ns(script):
                yield f"{gpu.device_id} in {boot.boot_id} ends {early_ns} ns before the daemon does"
