"""An open segment, and how it becomes usage records and a conservation row."""

from dataclasses import dataclass

from .identity import records_digest
from .interval import Interval
from .reading import Device, GapReason
from .tally import NS_PER_MS, PERCENT, Account, Share, Tally, divide
from .usage import ClockState, DeviceWindow, Segment, UsageRecord
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
    tally: Tally


@dataclass(frozen=True, slots=True)
class Closed:
    """A device's segment with all that is known of it: its records and its row travel together."""

    records: tuple[UsageRecord, ...]
    row: DeviceWindow


def close_segment(device: Device, opened: Open, end_ns: int, energy_mj: int | None) -> Closed:
    """Divides what the segment added up. ``energy_mj``: the driver's counter at its end, if there is one."""
    segment = Segment(
        device_id=device.device_id,
        generation=device.generation,
        gpu_model=device.model,
        boot=Interval(opened.start_ns, end_ns),
        wall_start_ns=opened.wall_start_ns,
        window_start_ns=opened.window_start_ns,
        window_length_ns=opened.window_length_ns,
        clock=opened.clock,
    )
    shares, gone = divide(opened.tally)
    records = _records(segment, opened, shares)
    return Closed(records, _row(segment, opened, records, gone, energy_mj))


def remainders(tally: Tally) -> dict[Workload, tuple[int, int]]:
    """What division by the units leaves over: carried into the next segment, so that nothing drifts."""
    return {w: (a.busy_percent_ns % PERCENT, a.memory_byte_ns % NS_PER_MS) for w, a in tally.accounts.items()}


def _records(segment: Segment, opened: Open, shares: dict[Workload, Share]) -> tuple[UsageRecord, ...]:
    accounts = opened.tally.accounts
    return tuple(
        _record(segment, opened, workload, accounts[workload], shares.get(workload, Share()))
        for workload in sorted(accounts)
    )


def _record(segment: Segment, opened: Open, workload: Workload, account: Account, share: Share) -> UsageRecord:
    return UsageRecord(
        segment=segment,
        workload=workload,
        owner=account.owner,
        allocated_ns=share.allocated_ns,
        held_ns=account.held_ns,
        inferred_ns=share.inferred_ns,
        busy_ns=account.busy_percent_ns // PERCENT,
        busy_known_ns=account.busy_known_ns,
        gpu_memory_byte_ms=account.memory_byte_ns // NS_PER_MS if account.memory_known else None,
        energy_mj=None if opened.energy_start_mj is None else share.energy_mj,
        sharing=opened.tally.sharing,
        edge_uncertainty_ns=opened.tally.uncertainty_ns,
        rules_version=opened.rules_version,
        evidence=account.evidence,
    )


def _row(
    segment: Segment, opened: Open, records: tuple[UsageRecord, ...], gone: Share, energy_mj: int | None
) -> DeviceWindow:
    tally = opened.tally
    unobserved = dict(tally.unobserved_ns)
    if gone.allocated_ns:
        unobserved[GapReason.DAEMON_DOWN] = unobserved.get(GapReason.DAEMON_DOWN, 0) + gone.allocated_ns
    return DeviceWindow(
        segment=segment,
        idle_ns=tally.idle_ns,
        unobserved_ns=tuple(sorted((str(reason), ns) for reason, ns in unobserved.items() if ns)),
        record_count=len(records),
        records_digest=records_digest(records),
        energy_start_mj=opened.energy_start_mj,
        energy_end_mj=None if opened.energy_start_mj is None else energy_mj,
        idle_energy_mj=tally.idle_energy_mj,
        unobserved_energy_mj=tally.unobserved_energy_mj + gone.energy_mj,
    )
