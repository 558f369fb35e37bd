"""Running sums of closed records, in integers, with a cap on how many series there may be."""

from collections import Counter
from dataclasses import dataclass
from typing import Final, NamedTuple

from ...model.usage import Batch, DeviceWindow, UsageRecord

OTHER: Final = "__other__"
"""The tenant under which whatever comes after the cap is summed."""
SERIES_CAP: Final = 1_000
LONGEST_LABEL: Final = 255


class Party(NamedTuple):
    """Whom time is summed for. Never a workload, a session or a process: those have no end."""

    tenant: str
    project: str
    gpu_model: str


class Blindness(NamedTuple):
    """Why devices of a model could not be observed."""

    gpu_model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Totals:
    """All sums since the daemon started: a value that nobody changes any more."""

    allocated_ns: dict[Party, int]
    busy_ns: dict[Party, int]
    energy_mj: dict[Party, int]
    idle_ns: dict[str, int]
    unobserved_ns: dict[Blindness, int]
    folded: int
    """Records that were summed under OTHER."""
    revisions: int
    """Records and rows left out because an earlier revision of them is in already."""


class Sums:
    """One thread adds, any thread reads ``totals``: it is replaced whole, so that neither ever waits."""

    def __init__(self, cap: int = SERIES_CAP) -> None:
        self._cap = cap
        self._allocated_ns: Counter[Party] = Counter()
        self._busy_ns: Counter[Party] = Counter()
        self._energy_mj: Counter[Party] = Counter()
        self._idle_ns: Counter[str] = Counter()
        self._unobserved_ns: Counter[Blindness] = Counter()
        self._parties: set[Party] = set()
        self._folded = 0
        self._revisions = 0
        self.totals = self._snapshot()

    def add(self, batch: Batch) -> None:
        """Adds first revisions only: a later one replaces what is in, and what was in is not kept here."""
        for record in batch.records:
            self._add_record(record)
        for row in batch.rows:
            self._add_row(row)
        self.totals = self._snapshot()

    def _add_record(self, record: UsageRecord) -> None:
        if record.revision:
            self._revisions += 1
            return
        party = self._party(record)
        self._allocated_ns[party] += record.allocated_ns
        if record.busy_known_ns:
            self._busy_ns[party] += record.busy_ns
        if record.energy_mj is not None:
            self._energy_mj[party] += record.energy_mj

    def _add_row(self, row: DeviceWindow) -> None:
        if row.revision:
            self._revisions += 1
            return
        gpu_model = _label(row.segment.gpu_model)
        self._idle_ns[gpu_model] += row.idle_ns
        for reason, length_ns in row.unobserved_ns:
            self._unobserved_ns[Blindness(gpu_model, _label(reason))] += length_ns

    def _party(self, record: UsageRecord) -> Party:
        owner, gpu_model = record.owner, _label(record.segment.gpu_model)
        party = Party(_label(owner.tenant), _label(owner.project), gpu_model)
        if party in self._parties:
            return party
        if len(self._parties) < self._cap:
            self._parties.add(party)
            return party
        self._folded += 1
        return Party(OTHER, "", gpu_model)

    def _snapshot(self) -> Totals:
        return Totals(
            dict(self._allocated_ns),
            dict(self._busy_ns),
            dict(self._energy_mj),
            dict(self._idle_ns),
            dict(self._unobserved_ns),
            self._folded,
            self._revisions,
        )


def _label(text: str) -> str:
    return text[:LONGEST_LABEL]
