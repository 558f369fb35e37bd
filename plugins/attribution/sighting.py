"""What was seen of a process that nobody had asked about yet, kept until somebody does."""

from dataclasses import dataclass

from .folders import Folder


@dataclass(frozen=True, slots=True)
class Sighting:
    """All that decides whose a process is, taken while it was there: its folders may go with it.

    ``folder`` None: its cgroup lies outside our namespace. ``uid`` only where a rule could ask for it.
    """

    cgroup: bytes
    folder: Folder | None
    uid: int | None = None
