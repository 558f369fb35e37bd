"""What there is to say of a log that ended: what was left of it, what was lost, and what became of both."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .frame import Frame, read_frame
from .wal_salvage import Salvage

_MOST_TOLD: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One serialized batch, already cut to the limits of a frame."""

    record_count: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of a log that was begun anew."""

    reason: str
    """damage, fork"""
    what: str
    """What was wrong, in words."""
    epoch: bytes
    """Of the log that ended; empty if nothing of it could be read."""
    acked_seq: int
    head_seq: int
    knows_head: bool
    """Whether that is for sure the newest frame that there was."""
    lost: tuple[tuple[int, int], ...]
    """The frames, first and last, that were not acknowledged and cannot be read."""
    salvaged_frames: int
    """Those that go on, acknowledged or not."""
    carried_from_seq: int
    """From there on, acknowledged or not, each frame goes on, or is among the lost, or was dropped by retention."""
    quarantine: Path | None

    def __str__(self) -> str:
        lost = ", ".join(f"{first} to {last}" for first, last in self.lost[:_MOST_TOLD]) or "none"
        more = f" and {len(self.lost) - _MOST_TOLD} more ranges" if len(self.lost) > _MOST_TOLD else ""
        return (
            f"epoch {self.epoch.hex() or '(unknown)'} ended at frame {self.head_seq}, {self.acked_seq} acknowledged: "
            f"{self.salvaged_frames} frames, from {self.carried_from_seq} on, go on in a new epoch; lost: {lost}{more}"
            f"{'' if self.knows_head else ', and perhaps frames behind the newest'}; "
            f"the old file: {self.quarantine or 'not kept'}"
        )


@dataclass(frozen=True, slots=True)
class Damage:
    """What is left, for the one who knows what is in the payloads."""

    salvaged: Salvage
    checkpoint: bytes | None

    @property
    def lost(self) -> list[tuple[int, int]]:
        """As in Recovery; ends with the frame behind the newest if it is not known that there was none."""
        behind = self.salvaged.head_seq + 1
        return [*self.salvaged.lost(), *([] if self.salvaged.knows_head else [(behind, behind)])]

    def payloads(self, wanted: Callable[[int], bool] = lambda _: True) -> Iterator[tuple[int, bytes]]:
        """(seq, serialized batch) of each frame held and wanted, in order: those too that are acknowledged."""
        for found in self.salvaged.held():
            if not found.is_skip and wanted(found.seq):
                yield found.seq, read_frame(self.salvaged.read(found)).payload()

    def skips(self) -> Iterator[Frame]:
        """The Skips, which do not go on in the new epoch, in order."""
        for found in self.salvaged.held():
            if found.is_skip:
                yield read_frame(self.salvaged.read(found))


Mend = Callable[[Damage], Sequence[Entry]]
"""What must be said instead of the frames that are lost, and of what no checkpoint remembers: it is in the new epoch
before anything else is. Asked whenever one begins, also where nothing is lost."""


def no_mending(damage: Damage) -> Sequence[Entry]:
    """For a log whose payloads mean nothing to anybody."""
    del damage
    return ()
