"""Calls that fail: EIO, ENOSPC and EDQUOT by each write, flush, reservation, rename and read, and writes that do half.

The real keeper and log, and the real ledger, run behind fail.c. Whatever call fails, once or some times in a row:
nobody ends abnormally, and when the disk works again everything is there once.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from . import shim
from .outcome import Outcome

ALL: Final = 2_700
"""About so many calls there are to fail, of both stores, all kinds, all errors and all lengths."""


def run(count: int, seed: int, *, patient: bool = True) -> Outcome:
    """About ``count`` failures of all there are, by lot; with ALL or more each one.

    ``patient`` False: the control, which says everything once.
    """
    outcome = Outcome("failing call" if patient else "failing call, nothing said again")
    outcome.skipped = shim.why_no_compiler()
    if outcome.skipped:
        return outcome
    with TemporaryDirectory(prefix="gputally-errors-") as folder:
        library = shim.build("fail", Path(folder))
        for store in ("log", "ledger") if patient else ("log, said once",):
            _try(outcome, Path(folder), library, (store, str(count / ALL), str(seed)))
    return outcome


def _try(outcome: Outcome, folder: Path, library: Path, of: tuple[str, str, str]) -> None:
    told = shim.behind(library, "errors_inside", str(folder), *of, environment={"FAIL_IN": "/stores/"})
    for line in told.splitlines():
        one = json.loads(line)
        why = one["why"] or f"{one['lost']} lost, {one['doubled']} doubled"
        outcome.count(
            lost=one["lost"],
            doubled=one["doubled"],
            undeclared=bool(one["why"]),
            why=f"{of[0]}: {one['failure']}: {why}",
        )
