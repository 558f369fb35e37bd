"""How the collector ends: exit codes of sysexits.h, and the message that goes with them."""

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    UNAVAILABLE = 69
    """An address or the ledger's folder is taken by somebody else."""
    SOFTWARE = 70
    """A part died by an error that nobody foresaw."""
    IO_ERROR = 74
    """The disk is full or broken."""
    CONFIG = 78
    """The configuration must change."""


class CannotStart(Exception):
    """Why the collector does not start: one or more lines for the operator, and the exit code."""

    def __init__(self, code: Exit, why: str) -> None:
        super().__init__(why)
        self.code = code
