"""What the ledger says against what was so: everything that must hold, whatever went wrong."""

from collections import Counter as Count
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..audit import audit
from .course import check_courses
from .court import Court
from .energies import check_energies
from .host import Lived
from .inference import check_inference
from .ledger import read_rows
from .quantities import check_quantities
from .script import Script


@dataclass(slots=True)
class Verdict:
    """``violations`` is what is wrong, in words; the rest is counted."""

    violations: list[str]
    compared: int = 0
    """Shares of a workload, or of nobody, in a segment of a device, each compared with the truth."""
    exact: int = 0
    """Those that are it, to the nanosecond."""
    device_ns: int = 0
    inferred_ns: int = 0
    unobserved_ns: Count[str] = field(default_factory=Count[str])


def judge(script: Script, lived: Lived) -> Verdict:
    """All violations, and how much there was to judge."""
    found = [f"the auditor says: {each}" for each in audit(lived.ledger)]
    found += [f"the stream forked: {why}" for why in lived.forks]
    found += _check_delivery(lived)
    rows = read_rows(script, lived.ledger)
    court = Court(script)
    found += court.try_rows(rows)
    found += court.try_windows(rows)
    found += check_inference(script, rows)
    found += check_energies(script, rows)
    found += check_quantities(script, rows)
    found += check_courses(script, rows, lived.ledger)
    return Verdict(found, court.compared, court.exact, court.device_ns, court.inferred_ns, court.unobserved_ns)


def _check_delivery(lived: Lived) -> Iterator[str]:
    """The auditor has followed the chain: if it ends where the log ends, every frame is there once."""
    if len(lived.ledger) != lived.head_seq:
        yield f"the host wrote {lived.head_seq} frames, the collector has {len(lived.ledger)}"
