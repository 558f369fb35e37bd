"""The canonical encoding and the digests of docs/formats.md, from the wire's own messages."""

from collections.abc import Iterable
from hashlib import blake2b

from ...proto.v1 import usage_pb2 as wire

_VERSION = 1
Field = str | int | bytes | None


def encode(fields: Iterable[Field]) -> bytes:
    return b"".join(map(_encode_one, fields))


def _encode_one(value: Field) -> bytes:
    if value is None:
        return b"\x00"
    if isinstance(value, int):  # booleans too
        return b"\x02" + value.to_bytes(16, "big", signed=True)
    raw = value.encode() if isinstance(value, str) else value
    return b"\x01" + len(raw).to_bytes(4, "big") + raw


def digest(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=16).digest()


def records_digest(segment: wire.Segment, records: Iterable[wire.UsageRecord]) -> bytes:
    """Of a segment's records, in whatever order they come."""
    place = _segment_fields(segment)
    return digest(b"".join(sorted(digest(encode((_VERSION, *place, *_record_fields(r)))) for r in records)))


def _segment_fields(segment: wire.Segment) -> tuple[Field, ...]:
    return (
        segment.device_id,
        segment.generation,
        segment.gpu_model,
        segment.boot_start_ns,
        segment.boot_start_ns + segment.length_ns,
        segment.wall_start_ns,
        segment.window_start_ns,
        segment.window_length_ns,
        segment.clock,
        *_slices_fields(segment),
        *_partition_fields(segment),
    )


def _slices_fields(segment: wire.Segment) -> tuple[Field, ...]:
    if not segment.HasField("slices"):
        return (None,) * 5
    slices = segment.slices
    return slices.parent_id, slices.compute, slices.compute_of, slices.memory, slices.memory_of


def _partition_fields(segment: wire.Segment) -> tuple[Field, ...]:
    if not segment.HasField("partition"):
        return (None,) * 2
    return segment.partition.compute_of, segment.partition.memory_of


def _record_fields(record: wire.UsageRecord) -> tuple[Field, ...]:
    owner = record.owner
    return (
        record.workload_kind,
        record.workload_id,
        record.session_id,
        record.revision,
        owner.tenant,
        owner.project,
        owner.rule,
        owner.reason,
        len(owner.tags),
        *(part for tag in owner.tags for part in (tag.key, tag.value)),
        record.allocated_ns,
        record.held_ns,
        record.blind_ns,
        record.inferred_ns,
        record.busy_ns,
        record.busy_known_ns,
        record.gpu_memory_byte_ms if record.HasField("gpu_memory_byte_ms") else None,
        record.energy_mj if record.HasField("energy_mj") else None,
        record.claim,
        record.sharing,
        record.outside_claim,
        record.edge_uncertainty_ns,
        record.rules_version,
        record.evidence,
        record.sharing_version,
        record.edges,
    )
