"""What happened: workloads that came and went, devices that were found, lost, changed and removed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .usage import Event, EventKind
from .workload import Holder, ProcessId, Workload

MOST_EVENTS = 1_000
"""Not yet told, at most. A storm of workloads beyond it is counted in the last event's detail, not lost in silence."""


@dataclass(slots=True)
class Chronicle:
    """Events since they were last taken, and who is there now."""

    offset_ns: int = 0
    """From CLOCK_BOOTTIME to the wall clock."""
    present: dict[Workload, int] = field(default_factory=dict[Workload, int])
    """Workloads on any device, and since when as far as we know."""
    events: list[Event] = field(default_factory=list[Event])
    left_out: int = 0

    def note(self, kind: EventKind, subject: str, boot_ns: int, detail: str = "") -> None:
        """Something happened at ``boot_ns``."""
        if len(self.events) < MOST_EVENTS:
            self.events.append(Event(kind, subject, boot_ns, boot_ns + self.offset_ns, detail))
        else:
            self.left_out += 1

    def note_workloads(
        self, held: Mapping[ProcessId, Holder], ended: Mapping[ProcessId, int], now_ns: int, all_seen: bool
    ) -> None:
        """Who holds any device now; ``ended`` tells of exits since the last time.

        Unless ``all_seen``, nobody is said to have ended: the device may be one that cannot be read.
        """
        here: dict[Workload, int] = {}
        for process, holder in held.items():
            since_ns = here.get(holder.workload, now_ns)
            here[holder.workload] = min(since_ns, process.start_ns or now_ns)
        for workload in sorted(here.keys() - self.present.keys()):
            self.note(EventKind.WORKLOAD_SEEN, workload.subject_id, here[workload])
        if not all_seen:
            here = {**self.present, **here}
        for workload in sorted(self.present.keys() - here.keys()):
            self.note(EventKind.WORKLOAD_ENDED, workload.subject_id, max(ended.values(), default=now_ns))
        self.present = here

    def take(self) -> tuple[Event, ...]:
        """What has not been told yet."""
        taken, self.events = tuple(self.events), []
        if self.left_out and taken:
            last = taken[-1]
            more = Event(last.kind, "", last.boot_ns, last.wall_ns, f"{self.left_out} further events were left out")
            taken, self.left_out = (*taken, more), 0
        return taken
