"""What the house asks of its plugs. A plug is handed what it needs and never sees the log."""

from collections.abc import Mapping
from typing import Protocol

from ..model.reading import HostReading
from ..model.usage import Batch
from ..model.workload import Attribution


class Attributor(Protocol):
    """Says whose each process is."""

    rules_version: str
    """Changes whenever the same process could get another owner."""

    def attribute(self, reading: HostReading) -> Attribution:
        """A holder for every pid in the reading, and who ended since the last one. Never raises for a pid."""
        ...

    def fileno(self) -> int:
        """Readable when a process that holds a device has ended: call note_exits() then."""
        ...

    def note_exits(self) -> None:
        """Stamps the processes that have ended, to the millisecond."""
        ...

    def close(self) -> None: ...


class Telemetry(Protocol):
    """Takes what is to be shown to stacks that exist already. Must return at once and never raise."""

    def observe(self, reading: HostReading) -> None:
        """What the host looks like now; a newer reading replaces one not yet taken."""
        ...

    def account(self, batch: Batch) -> None:
        """Records and rows that were just closed, each revision once; their times become running sums."""
        ...

    def alarm(self, devices: Mapping[str, int]) -> None:
        """How many devices each alarm stands for now, by its kind; what is not named is over."""
        ...

    def close(self) -> None:
        """Returns within a second, whatever the exporter does."""
        ...
