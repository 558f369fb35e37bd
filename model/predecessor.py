"""What a new epoch says of the one it continues: the host's own word on where that one ended."""

from dataclasses import dataclass
from typing import Final

_EPOCH_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The log that was begun anew under another epoch. It may travel in any frame: an epoch that is itself begun
    anew before its first frame was acknowledged says it again in the next."""

    epoch: bytes
    last_seq: int
    """The newest frame of it that the host knows; 0: none."""
    reason: str
    """fork, damage"""
    carried_from_seq: int = 0
    """From here on its frames go on in the new epoch, or are declared in it; 0: the host does not say so."""

    def lost_behind(self, committed_seq: int) -> tuple[int, int] | None:
        """The frames, first and last, that a ledger which has it through ``committed_seq`` will never get.

        None: there are none, or nobody says so, or no such epoch can be.
        """
        first, last = committed_seq + 1, self.carried_from_seq - 1
        return (first, last) if first <= last and len(self.epoch) == _EPOCH_BYTES else None
