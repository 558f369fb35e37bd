"""A device's reading and the answers of the attributor, put together to a sight."""

from collections.abc import Iterator

from .energy import Epoch
from .holding import SAMPLE_PERIOD_NS, Edge, Passing, Sight
from .reading import DeviceReading, PassedProcess
from .usage import EnergySource
from .workload import Attribution, Holder, Passage, ProcessId


def sight_of(part: DeviceReading, attribution: Attribution) -> Sight:
    """Every process of the list with its holder, and every passed one with what is known of its edges."""
    holders: dict[ProcessId, Holder] = {}
    memory_bytes: dict[ProcessId, int] = {}
    sm_percent: dict[ProcessId, int] = {}
    for pid, used_bytes, percent in part.processes:
        holder = attribution.holders[pid]
        process = holder.process
        holders[process] = holder
        if used_bytes is not None:
            memory_bytes[process] = used_bytes
        if percent is not None:
            sm_percent[process] = percent
    sight = Sight(
        part.at_ns,
        holders,
        memory_bytes,
        sm_percent,
        part.utilization_percent,
        part.energy_mj,
        part.power_mw,
        epoch_of(part),
    )
    if part.passed:
        sight.passed = tuple(_passing(part, attribution))
        sight.sm_percent.update(_percents(part, attribution))
    return sight


def epoch_of(part: DeviceReading) -> Epoch:
    """Within what its energy may be compared."""
    return Epoch(_source(part), part.epoch)


def _source(part: DeviceReading) -> EnergySource:
    if part.energy_mj is not None:
        return EnergySource.COUNTER
    return EnergySource.NONE if part.power_mw is None else EnergySource.POWER


def _passing(part: DeviceReading, attribution: Attribution) -> Iterator[Passing]:
    for passed in part.passed:
        passage = attribution.passed.get(passed.pid)
        if passage is not None:
            end_ns, edge = _end(passed, passage, part.at_ns)
            yield Passing(passage.holder, tuple(_starts(passed, passage)), end_ns, edge, passage.uncertainty_ns)


def _starts(passed: PassedProcess, passage: Passage) -> Iterator[tuple[int, Edge]]:
    if passage.start_ns is not None:
        yield passage.start_ns, Edge.MEMORY
    if passed.accounted is not None:
        yield passed.accounted.start_ns, Edge.ACCOUNTED
    for stamp_ns in passed.evidence_ns:
        yield stamp_ns, Edge.EVIDENCE


def _end(passed: PassedProcess, passage: Passage, at_ns: int) -> tuple[int, Edge]:
    if passage.end_ns is not None:
        return passage.end_ns, Edge.MEMORY
    if passed.accounted is not None:
        return passed.accounted.start_ns + passed.accounted.time_ns, Edge.ACCOUNTED
    # The driver tells each process's newest sample: had it gone on for longer, there would be a newer one.
    newest_ns = max(passed.evidence_ns, default=at_ns)
    return min(newest_ns + SAMPLE_PERIOD_NS, at_ns), Edge.EVIDENCE


def _percents(part: DeviceReading, attribution: Attribution) -> Iterator[tuple[ProcessId, int]]:
    for passed in part.passed:
        passage = attribution.passed.get(passed.pid)
        accounted = passed.accounted.sm_percent if passed.accounted else None
        percent = passed.sm_percent if passed.sm_percent is not None else accounted
        if passage is not None and percent is not None:
            yield passage.holder.process, percent
