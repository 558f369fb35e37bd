"""A script's leases as a source of claims tells them."""

from ...model.claims import Claim
from ...model.reading import HostReading
from ...model.usage import ClaimClass
from ...model.workload import Owner, Workload
from .script import Lease, Script


class LeaseSource:
    """Implements the port ClaimSource: what is in force at a reading, and what was."""

    version = "1"

    def __init__(self, script: Script, up_ns: int) -> None:
        self._leases, self._up_ns = script.leases, up_ns
        self._begun = -1
        self._told: tuple[Claim, ...] = ()

    def claims(self, reading: HostReading) -> tuple[Claim, ...]:
        """The same object while no lease begins."""
        true_ns = reading.boot_ns + self._up_ns
        begun = sum(each.start_ns <= true_ns for each in self._leases)
        if begun != self._begun:
            self._begun = begun
            self._told = tuple(self._claim(each) for each in self._leases[:begun])
        return self._told

    def close(self) -> None:
        """Nothing is held."""

    def _claim(self, lease: Lease) -> Claim:
        return Claim(
            device_id=lease.device_id,
            claim_class=ClaimClass.SCHEDULER if lease.is_scheduled else ClaimClass.LEASE,
            workload=Workload(lease.job.kind, lease.job.id),
            owner=Owner(lease.tenant, rule="lease"),
            start_ns=lease.start_ns - self._up_ns,
            end_ns=lease.end_ns - self._up_ns,
            units=lease.units,
            of=lease.of,
            evidence="leases",
        )
