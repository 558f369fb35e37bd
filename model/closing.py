"""An open segment, and how it becomes usage records and a conservation row."""

from dataclasses import dataclass, replace

from .division import NS_PER_MS, PERCENT, Division, Share, divide, divide_busy
from .identity import records_digest
from .interval import Interval
from .reading import Device
from .tally import Account, Tally
from .usage import ClaimClass, ClockState, DeviceWindow, EnergySource, Segment, Sharing, UsageRecord
from .workload import Workload


@dataclass(slots=True)
class Open:
    """A segment that still grows. All but ``wall_start_ns`` and ``window_start_ns`` (UTC) is CLOCK_BOOTTIME."""

    start_ns: int
    edge_ns: int
    """Where its window ends."""
    wall_start_ns: int
    window_start_ns: int
    window_length_ns: int
    clock: ClockState
    rules_version: str
    energy_start_mj: int | None
    energy_source: EnergySource
    tally: Tally
    interval_ns: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """A device's segment with all that is known of it: its records and its row travel together."""

    records: tuple[UsageRecord, ...]
    row: DeviceWindow


def close_segment(device: Device, opened: Open, end_ns: int, energy_mj: int | None, revision: int = 0) -> Closed:
    """Divides what the segment added up. ``energy_mj``: the energy scale at its end, if there is one."""
    segment = Segment(
        device_id=device.device_id,
        generation=device.generation,
        gpu_model=device.model,
        boot=Interval(opened.start_ns, end_ns),
        wall_start_ns=opened.wall_start_ns,
        window_start_ns=opened.window_start_ns,
        window_length_ns=opened.window_length_ns,
        clock=opened.clock,
        slices=device.slices,
        partition=device.partition,
    )
    division = divide(opened.tally)
    records = _records(segment, opened, division)
    if revision:
        records = tuple(replace(record, revision=revision) for record in records)
    return Closed(records, replace(_row(segment, opened, records, division, energy_mj), revision=revision))


def _records(segment: Segment, opened: Open, division: Division) -> tuple[UsageRecord, ...]:
    accounts, busy = opened.tally.accounts, divide_busy(opened.tally)
    return tuple(
        _record(segment, opened, workload, accounts[workload], division.shares.get(workload), busy.get(workload, 0))
        for workload in sorted(accounts)
    )


def _record(
    segment: Segment, opened: Open, workload: Workload, account: Account, share: Share | None, busy_percent_ns: int
) -> UsageRecord:
    tally = opened.tally
    claim = _claim_of(tally, workload)
    has = share or Share()
    return UsageRecord(
        segment=segment,
        workload=workload,
        owner=account.owner,
        allocated_ns=has.allocated_ns,
        held_ns=account.held_ns,
        blind_ns=has.blind_ns,
        inferred_ns=has.inferred_ns,
        busy_ns=busy_percent_ns // PERCENT,
        busy_known_ns=account.busy_known_ns,
        gpu_memory_byte_ms=account.memory_byte_ns // NS_PER_MS if account.memory_known else None,
        energy_mj=None if opened.energy_start_mj is None else has.energy_mj,
        claim=claim,
        sharing=tally.sharing if claim is ClaimClass.PROCESS else Sharing.CLAIMED,
        outside_claim=bool(tally.claims) and claim is ClaimClass.PROCESS,
        edge_uncertainty_ns=tally.uncertainty_ns,
        edges=account.edges,
        rules_version=opened.rules_version,
        evidence=account.evidence,
    )


def _claim_of(tally: Tally, workload: Workload) -> ClaimClass:
    for claim in tally.claims:
        if tally.book_on(claim.workload) == workload:
            return claim.claim_class
    return ClaimClass.PROCESS


def _row(
    segment: Segment, opened: Open, records: tuple[UsageRecord, ...], division: Division, energy_mj: int | None
) -> DeviceWindow:
    unobserved = ((str(reason), ns) for reason, ns in division.unobserved_ns.items() if ns)
    counted = opened.energy_start_mj is not None
    return DeviceWindow(
        segment=segment,
        idle_ns=division.idle_ns,
        unobserved_ns=tuple(sorted(unobserved)),
        record_count=len(records),
        records_digest=records_digest(records),
        energy_start_mj=opened.energy_start_mj,
        energy_end_mj=energy_mj if counted else None,
        idle_energy_mj=division.idle_energy_mj,
        unobserved_energy_mj=division.unobserved_energy_mj,
        energy_source=opened.energy_source if counted else EnergySource.NONE,
        interval_ns=opened.interval_ns,
        stranded_compute_ns=opened.tally.stranded_compute_ns,
        stranded_memory_ns=opened.tally.stranded_memory_ns,
    )
