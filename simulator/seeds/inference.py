"""What may be inferred over a time when the daemon was away: only what one process at both ends bears out."""

from collections.abc import Iterator
from itertools import pairwise

from .ledger import Row, place_of
from .reach import Reach, within
from .script import Life, Script, Stretch
from .truth import Truth

DAY_NS = 24 * 3600 * 10**9


def check_inference(script: Script, rows: list[Row]) -> Iterator[str]:
    """Each row with inferred time lies in a pause of the daemon, in which its workloads had a process all along."""
    truth, reach = Truth(script), Reach(script)
    for row in rows:
        for record in row.records:
            who = record.workload_kind, record.workload_id
            if record.inferred_ns and not any(
                _bears_out(script, truth, reach, row, who, *pause) for pause in pairwise(script.lives)
            ):
                yield f"{place_of(script, row)} {who} has {record.inferred_ns} ns inferred, which nothing bears out"


def _bears_out(
    script: Script, truth: Truth, reach: Reach, row: Row, who: tuple[str, str], life: Life, following: Life
) -> bool:
    reached = Stretch(reach.remembered_ns(life), following.start_ns + DAY_NS)
    if not within((reached,), row.start_ns, row.end_ns) or following.start_ns - life.end_ns > DAY_NS:
        return False
    ruled = any(life.end_ns < rules.at_ns <= following.start_ns for rules in script.rules)
    rebooted = any(life.end_ns < boot.up_ns <= following.start_ns for boot in script.boots)
    return (
        not ruled and not rebooted and truth.held_through(row.device_id, who, reach.dead_ns(life), following.start_ns)
    )
