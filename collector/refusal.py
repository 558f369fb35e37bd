"""Why the collector does not start."""

from ..model.exits import Exit
from ..storage.ledger_folder import LedgerBroken, LedgerError, LedgerInUse


class CannotStart(Exception):
    """Why the collector does not start: one or more lines for the operator, and the exit code."""

    def __init__(self, code: Exit, why: str) -> None:
        super().__init__(why)
        self.code = code


def exit_of(error: LedgerError) -> Exit:
    """What a ledger that cannot be opened means for whoever would start again."""
    if isinstance(error, LedgerInUse):
        return Exit.UNAVAILABLE
    return Exit.IO if isinstance(error, LedgerBroken) else Exit.CONFIG
