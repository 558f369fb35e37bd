"""What the house asks of its plugs. A plug is handed what it needs and never sees the log."""

from collections.abc import Mapping
from typing import Protocol

from ..model.claims import Claim
from ..model.consumption import Consumed, Where
from ..model.reading import HostReading
from ..model.usage import Batch
from ..model.workload import Attribution, Workload


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


class ClaimSource(Protocol):
    """Says who has a device, whether or not a process uses it: an operator's leases, a scheduler's jobs."""

    version: str
    """Changes whenever what it says may be other than before."""

    def claims(self, reading: HostReading) -> tuple[Claim, ...]:
        """Claims in force now, and those that began or ended within the last day.

        Wall times become CLOCK_BOOTTIME by this reading's two clocks. The same object while nothing
        changes. Never raises.
        """
        ...

    def close(self) -> None: ...


class Consumption(Protocol):
    """Says what workloads have taken of the host apart from devices."""

    def read(self, workloads: Mapping[Workload, Where]) -> Mapping[Workload, Consumed]:
        """Counters of each now; what cannot be known is None. About 0.1 ms for each, so once a window. Never raises."""
        ...


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
