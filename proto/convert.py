"""The one door between the wire and the model: a batch to bytes and back.

Raises ValueError for bytes that are no batch, or a batch that cannot be true.
"""

from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError

from ..model.interval import Interval
from ..model.predecessor import Predecessor
from ..model.signing import SignedCheckpoint, SigningKey
from ..model.usage import (
    Batch,
    ClaimClass,
    ClockState,
    DeviceWindow,
    EnergySource,
    Event,
    EventKind,
    HostGap,
    HostWindow,
    Partition,
    Segment,
    Sharing,
    Slices,
    UsageRecord,
    WorkloadWindow,
)
from ..model.workload import Owner, Workload
from .v1 import usage_pb2 as wire


def encode_batch(batch: Batch) -> bytes:
    """The payload of a frame. Segments are said once and named by index."""
    segments = [row.segment for row in batch.rows] + [record.segment for record in batch.records]
    index = {segment: place for place, segment in enumerate(dict.fromkeys(segments))}
    message = wire.Batch(
        host_id=batch.host_id,
        boot_id=batch.boot_id,
        complete_through_ns=batch.complete_through_ns,
        segments=[_segment_out(segment) for segment in index],
        records=[_record_out(record, index[record.segment]) for record in batch.records],
        rows=[_row_out(row, index[row.segment]) for row in batch.rows],
        workloads=[_workload_out(window) for window in batch.workloads],
        hosts=[_host_out(window) for window in batch.hosts],
        host_gaps=[_gap_out(gap) for gap in batch.host_gaps],
        events=[_event_out(event) for event in batch.events],
        keys=[_key_out(key) for key in batch.keys],
        checkpoints=[_checkpoint_out(checkpoint) for checkpoint in batch.checkpoints],
        predecessor=None if batch.predecessor is None else _predecessor_out(batch.predecessor),
    )
    return message.SerializeToString(deterministic=True)


def decode_batch(payload: bytes) -> Batch:
    """The batch of a frame's payload. Raises ValueError if it is none."""
    message = _parse(payload)
    try:
        segments = [_segment_in(segment) for segment in message.segments]
        return Batch(
            host_id=message.host_id,
            boot_id=message.boot_id,
            complete_through_ns=_known(message, "complete_through_ns"),
            records=tuple(_record_in(record, segments[record.segment]) for record in message.records),
            rows=tuple(_row_in(row, segments[row.segment]) for row in message.rows),
            workloads=tuple(map(_workload_in, message.workloads)),
            hosts=tuple(map(_host_in, message.hosts)),
            host_gaps=tuple(map(_gap_in, message.host_gaps)),
            events=tuple(map(_event_in, message.events)),
            **_chain_in(message),
        )
    except IndexError:
        raise ValueError(_NO_SEGMENT) from None


def decode_signing(payload: bytes) -> Batch:
    """A batch with nothing but its host, keys, checkpoints and predecessor: for those who follow a chain.

    Raises ValueError for bytes that are no batch.
    """
    message = _parse(payload)
    return Batch(message.host_id, message.boot_id, **_chain_in(message))


def check_batch_bytes(payload: bytes) -> str:
    """The host these bytes say they are of. Raises ValueError exactly where decode_batch would.

    For the collector's intake, which must know that a frame can be decoded before it acknowledges
    it, and has a tenth of the time that decoding takes.
    """
    message = _parse(payload)
    for segment in message.segments:
        if segment.length_ns == 0 or segment.clock not in _CLOCKS:
            _segment_in(segment)  # says what is wrong
    count = len(message.segments)
    for record in message.records:
        if record.segment >= count:
            raise ValueError(_NO_SEGMENT)
        if record.claim not in _CLAIMS or record.sharing not in _SHARINGS:
            _record_in(record, _segment_in(message.segments[record.segment]))
    for row in message.rows:
        if row.segment >= count:
            raise ValueError(_NO_SEGMENT)
        EnergySource(row.energy_source)
    _check_others(message)
    return message.host_id


def _check_others(message: wire.Batch) -> None:
    """They are few: decoding them is the check."""
    for window in message.workloads:
        _workload_in(window)
    for host in message.hosts:
        _host_in(host)
    for gap in message.host_gaps:
        _gap_in(gap)
    for event in message.events:
        _event_in(event)


_CLOCKS, _CLAIMS, _SHARINGS = (frozenset(map(str, kind)) for kind in (ClockState, ClaimClass, Sharing))
_NO_SEGMENT = "not a batch: a record or row names a segment that is not there"


def _parse(payload: bytes) -> wire.Batch:
    try:
        return wire.Batch.FromString(payload)
    except DecodeError as error:
        raise ValueError(f"not a batch: {error}") from None


def _segment_out(segment: Segment) -> wire.Segment:
    return wire.Segment(
        device_id=segment.device_id,
        generation=segment.generation,
        gpu_model=segment.gpu_model,
        boot_start_ns=segment.boot.start_ns,
        length_ns=segment.boot.length_ns,
        wall_start_ns=segment.wall_start_ns,
        window_start_ns=segment.window_start_ns,
        window_length_ns=segment.window_length_ns,
        clock=segment.clock,
        slices=None if segment.slices is None else wire.Slices(**segment.slices._asdict()),
        partition=None if segment.partition is None else wire.Partition(**segment.partition._asdict()),
    )


def _segment_in(message: wire.Segment) -> Segment:
    return Segment(
        device_id=message.device_id,
        generation=message.generation,
        gpu_model=message.gpu_model,
        boot=Interval(message.boot_start_ns, message.boot_start_ns + message.length_ns),
        wall_start_ns=message.wall_start_ns,
        window_start_ns=message.window_start_ns,
        window_length_ns=message.window_length_ns,
        clock=ClockState(message.clock),
        slices=_slices_in(message.slices) if message.HasField("slices") else None,
        partition=_partition_in(message.partition) if message.HasField("partition") else None,
    )


def _slices_in(message: wire.Slices) -> Slices:
    return Slices(message.parent_id, message.compute, message.compute_of, message.memory, message.memory_of)


def _partition_in(message: wire.Partition) -> Partition:
    return Partition(message.compute_of, message.memory_of)


def _record_out(record: UsageRecord, segment: int) -> wire.UsageRecord:
    return wire.UsageRecord(
        segment=segment,
        workload_kind=record.workload.kind,
        workload_id=record.workload.id,
        session_id=record.session_id,
        revision=record.revision,
        owner=_owner_out(record.owner),
        allocated_ns=record.allocated_ns,
        held_ns=record.held_ns,
        blind_ns=record.blind_ns,
        inferred_ns=record.inferred_ns,
        busy_ns=record.busy_ns,
        busy_known_ns=record.busy_known_ns,
        gpu_memory_byte_ms=record.gpu_memory_byte_ms,
        energy_mj=record.energy_mj,
        claim=record.claim,
        sharing=record.sharing,
        sharing_version=record.sharing_version,
        outside_claim=record.outside_claim,
        edge_uncertainty_ns=record.edge_uncertainty_ns,
        edges=record.edges,
        rules_version=record.rules_version,
        evidence=record.evidence,
    )


def _record_in(message: wire.UsageRecord, segment: Segment) -> UsageRecord:
    return UsageRecord(
        segment=segment,
        workload=Workload(message.workload_kind, message.workload_id),
        session_id=message.session_id,
        revision=message.revision,
        owner=_owner_in(message.owner),
        allocated_ns=message.allocated_ns,
        held_ns=message.held_ns,
        blind_ns=message.blind_ns,
        inferred_ns=message.inferred_ns,
        busy_ns=message.busy_ns,
        busy_known_ns=message.busy_known_ns,
        gpu_memory_byte_ms=_known(message, "gpu_memory_byte_ms"),
        energy_mj=_known(message, "energy_mj"),
        claim=ClaimClass(message.claim),
        sharing=Sharing(message.sharing),
        sharing_version=message.sharing_version,
        outside_claim=message.outside_claim,
        edge_uncertainty_ns=message.edge_uncertainty_ns,
        edges=message.edges,
        rules_version=message.rules_version,
        evidence=message.evidence,
    )


def _owner_out(owner: Owner) -> wire.Owner:
    tags = [wire.Tag(key=key, value=value) for key, value in owner.tags]
    return wire.Owner(tenant=owner.tenant, project=owner.project, rule=owner.rule, reason=owner.reason, tags=tags)


def _owner_in(message: wire.Owner) -> Owner:
    tags = tuple((tag.key, tag.value) for tag in message.tags)
    return _owner(message.tenant, message.project, message.rule, message.reason, tags)


@lru_cache(maxsize=1024)
def _owner(tenant: str, project: str, rule: str, reason: str, tags: tuple[tuple[str, str], ...]) -> Owner:
    """One object for all records that say the same."""
    return Owner(tenant, project, rule, reason, tags)


def _row_out(row: DeviceWindow, segment: int) -> wire.DeviceWindow:
    return wire.DeviceWindow(
        segment=segment,
        revision=row.revision,
        idle_ns=row.idle_ns,
        unobserved=[wire.Unobserved(reason=reason, length_ns=length) for reason, length in row.unobserved_ns],
        record_count=row.record_count,
        records_digest=row.records_digest,
        energy_start_mj=row.energy_start_mj,
        energy_end_mj=row.energy_end_mj,
        idle_energy_mj=row.idle_energy_mj,
        unobserved_energy_mj=row.unobserved_energy_mj,
        energy_source=row.energy_source,
        interval_ns=row.interval_ns,
        stranded_compute_ns=row.stranded_compute_ns,
        stranded_memory_ns=row.stranded_memory_ns,
    )


def _row_in(message: wire.DeviceWindow, segment: Segment) -> DeviceWindow:
    return DeviceWindow(
        segment=segment,
        revision=message.revision,
        idle_ns=message.idle_ns,
        unobserved_ns=tuple((entry.reason, entry.length_ns) for entry in message.unobserved),
        record_count=message.record_count,
        records_digest=message.records_digest,
        energy_start_mj=_known(message, "energy_start_mj"),
        energy_end_mj=_known(message, "energy_end_mj"),
        idle_energy_mj=message.idle_energy_mj,
        unobserved_energy_mj=message.unobserved_energy_mj,
        energy_source=EnergySource(message.energy_source),
        interval_ns=message.interval_ns,
        stranded_compute_ns=message.stranded_compute_ns,
        stranded_memory_ns=message.stranded_memory_ns,
    )


_CONSUMED = (
    "cpu_us",
    "memory_byte_ms",
    "io_read_bytes",
    "io_write_bytes",
    "net_rx_bytes",
    "net_tx_bytes",
    "replica_ns",
    "replica_max",
)


def _workload_out(window: WorkloadWindow) -> wire.WorkloadWindow:
    return wire.WorkloadWindow(
        workload_kind=window.workload.kind,
        workload_id=window.workload.id,
        owner=_owner_out(window.owner),
        boot_start_ns=window.boot.start_ns,
        length_ns=window.boot.length_ns,
        wall_start_ns=window.wall_start_ns,
        window_start_ns=window.window_start_ns,
        window_length_ns=window.window_length_ns,
        **{name: getattr(window, name) for name in _CONSUMED},
    )


def _workload_in(message: wire.WorkloadWindow) -> WorkloadWindow:
    return WorkloadWindow(
        workload=Workload(message.workload_kind, message.workload_id),
        owner=_owner_in(message.owner),
        boot=Interval(message.boot_start_ns, message.boot_start_ns + message.length_ns),
        wall_start_ns=message.wall_start_ns,
        window_start_ns=message.window_start_ns,
        window_length_ns=message.window_length_ns,
        **{name: _known(message, name) for name in _CONSUMED},
    )


def _host_out(window: HostWindow) -> wire.HostWindow:
    return wire.HostWindow(
        boot_start_ns=window.boot.start_ns,
        length_ns=window.boot.length_ns,
        wall_start_ns=window.wall_start_ns,
        window_start_ns=window.window_start_ns,
        window_length_ns=window.window_length_ns,
        clock=window.clock,
    )


def _host_in(message: wire.HostWindow) -> HostWindow:
    return HostWindow(
        boot=Interval(message.boot_start_ns, message.boot_start_ns + message.length_ns),
        wall_start_ns=message.wall_start_ns,
        window_start_ns=message.window_start_ns,
        window_length_ns=message.window_length_ns,
        clock=ClockState(message.clock),
    )


def _gap_out(gap: HostGap) -> wire.HostGap:
    return wire.HostGap(
        wall_start_ns=gap.wall.start_ns,
        length_ns=gap.wall.length_ns,
        former_boot_id=gap.former_boot_id,
        reason=gap.reason,
        device_ids=gap.device_ids,
    )


def _gap_in(message: wire.HostGap) -> HostGap:
    wall = Interval(message.wall_start_ns, message.wall_start_ns + message.length_ns)
    return HostGap(wall, message.former_boot_id, message.reason, tuple(message.device_ids))


def _event_out(event: Event) -> wire.Event:
    return wire.Event(
        kind=event.kind, subject=event.subject, boot_ns=event.boot_ns, wall_ns=event.wall_ns, detail=event.detail
    )


def _event_in(message: wire.Event) -> Event:
    return Event(EventKind(message.kind), message.subject, message.boot_ns, message.wall_ns, message.detail)


def _key_out(key: SigningKey) -> wire.SigningKey:
    return wire.SigningKey(
        key_id=key.key_id, public_key=key.public_key, signed_by=key.signed_by, signature=key.signature
    )


def _checkpoint_out(checkpoint: SignedCheckpoint) -> wire.SignedCheckpoint:
    return wire.SignedCheckpoint(
        key_id=checkpoint.key_id,
        epoch=checkpoint.epoch,
        seq=checkpoint.seq,
        hash=checkpoint.hash,
        signature=checkpoint.signature,
    )


def _chain_in(message: wire.Batch) -> dict[str, Any]:
    keys = tuple(SigningKey(key.public_key, key.signed_by, key.signature) for key in message.keys)
    checkpoints = tuple(
        SignedCheckpoint(one.key_id, one.epoch, one.seq, one.hash, one.signature) for one in message.checkpoints
    )
    predecessor = _predecessor_in(message.predecessor) if message.HasField("predecessor") else None
    return {"keys": keys, "checkpoints": checkpoints, "predecessor": predecessor}


def _predecessor_out(told: Predecessor) -> wire.Predecessor:
    return wire.Predecessor(
        epoch=told.epoch, last_seq=told.last_seq, reason=told.reason, carried_from_seq=told.carried_from_seq
    )


def _predecessor_in(told: wire.Predecessor) -> Predecessor:
    return Predecessor(told.epoch, told.last_seq, told.reason, told.carried_from_seq)


def _known(message: Any, field: str) -> int | None:
    return getattr(message, field) if message.HasField(field) else None
