"""What can be wrong with a log, sorted by what its owner does about it."""

from pathlib import Path
from typing import Final

from ..model.exits import Exit

CURE_DAMAGE: Final = (
    "start the daemon: it keeps the file in quarantine and goes on in a new epoch with what can be read, and what "
    "cannot becomes an exact gap (log_damaged). `gputally log salvage` shows beforehand what that is. "
    "What was acknowledged is safe in the ledger"
)


class LogError(Exception):
    """Any trouble with the write-ahead log."""


class LogUnusable(LogError):
    """It cannot be opened. The message names the folder and the cure.

    ``exit_code`` is 78 where the configuration or the permissions must change,
    74 where the disk must (no space, damage), 69 where another process has it.
    """

    def __init__(self, message: str, exit_code: Exit = Exit.CONFIG) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class HostIdChanged(LogUnusable):
    """The log was written under another host id: its frames would be billed to the wrong host."""


class LogFull(LogError):
    """The logical cap is reached and nothing acknowledged is left to drop. Nothing was written."""


def full(folder: Path, cap_bytes: int) -> LogFull:
    return LogFull(
        f"{folder}: the log holds all it may of its {cap_bytes} bytes, and the collector has acknowledged none of "
        "that: nothing new is taken until it does; see uplink, or raise log.cap_mib"
    )


def no_room_for_checkpoint(folder: Path, needed_bytes: int, cap_bytes: int) -> LogFull:
    return LogFull(
        f"{folder}: no room for {needed_bytes} bytes of open windows in a log of {cap_bytes} bytes: raise log.cap_mib"
    )


class LogBroken(LogError):
    """The disk or the file failed. After a failed commit its outcome is unknown: open the log anew.

    ``seq`` names the frame that does not verify, where it is one.
    """

    def __init__(self, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.seq = seq


class NotALog(LogError):
    """The folder holds no log, or one that this version cannot read. For those who only look."""

    exit_code: Exit = Exit.NO_INPUT


class LogInUse(NotALog):
    """What is asked of it can only be answered once its daemon has stopped."""

    exit_code = Exit.UNAVAILABLE


def check_host(folder: Path, written_by: str, host_id: str) -> None:
    """Raises HostIdChanged."""
    if written_by != host_id:
        raise HostIdChanged(
            f"log.path {folder} was written by host {written_by!r}, but host.id is now {host_id!r}: "
            f"set host.id back, or let the old host drain its log and give this one a log.path of its own"
        )
