"""Names that never change: the key of a usage record and the digest of its content.

Both are blake2b-128 over a canonical encoding that docs/formats.md fixes with
test vectors: each field is one tag byte and either a length and UTF-8 bytes, or
a 16-byte big-endian integer, or nothing at all where the value is unknown.
"""

from hashlib import blake2b
from typing import Final

from .usage import DeviceWindow, Segment, UsageRecord

_VERSION: Final = 1
_UNKNOWN, _TEXT, _INTEGER = b"\x00", b"\x01", b"\x02"
_NO_SLICES: Final = (None,) * 5
_NO_PARTITION: Final = (None,) * 2


def encode(*fields: str | int | bytes | None) -> bytes:
    """The canonical encoding of some fields in order. Two different lists never encode alike."""
    return b"".join(map(_encode_one, fields))


def _encode_one(value: str | int | bytes | None) -> bytes:
    if value is None:
        return _UNKNOWN
    if isinstance(value, int):
        return _INTEGER + value.to_bytes(16, "big", signed=True)
    raw = value.encode() if isinstance(value, str) else value
    return _TEXT + len(raw).to_bytes(4, "big") + raw


def _hash(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=16).digest()


def segment_key(host_id: str, boot_id: str, segment: Segment) -> bytes:
    """Names a device's segment: 16 bytes."""
    return encode_segment_key(host_id, boot_id, *_place(segment))


def encode_segment_key(host_id: str, boot_id: str, device_id: str, generation: int, boot_start_ns: int) -> bytes:
    """The same, of its parts."""
    return _hash(encode(_VERSION, "segment", host_id, boot_id, device_id, generation, boot_start_ns))


def usage_key(host_id: str, boot_id: str, record: UsageRecord) -> bytes:
    """Names a usage record: 16 bytes. No tenant in it: attributing anew is a revision, not a second count."""
    place = _place(record.segment)
    return _hash(
        encode(
            _VERSION,
            "usage",
            host_id,
            boot_id,
            *place[:2],
            record.workload.subject_id,
            record.session_id,
            place[2],
        )
    )


def _place(segment: Segment) -> tuple[str, int, int]:
    return segment.device_id, segment.generation, segment.boot.start_ns


def record_digest(record: UsageRecord) -> bytes:
    """What a record says, in 16 bytes, whatever bytes carried it."""
    owner = record.owner
    tags = [part for tag in owner.tags for part in tag]
    return _hash(
        encode(
            _VERSION,
            *_describe(record.segment),
            record.workload.kind,
            record.workload.id,
            record.session_id,
            record.revision,
            owner.tenant,
            owner.project,
            owner.rule,
            owner.reason,
            len(owner.tags),
            *tags,
            record.allocated_ns,
            record.held_ns,
            record.blind_ns,
            record.inferred_ns,
            record.busy_ns,
            record.busy_known_ns,
            record.gpu_memory_byte_ms,
            record.energy_mj,
            record.claim,
            record.sharing,
            int(record.outside_claim),
            record.edge_uncertainty_ns,
            record.rules_version,
            record.evidence,
            record.sharing_version,
            record.edges,
        )
    )


def records_digest(records: tuple[UsageRecord, ...] | list[UsageRecord]) -> bytes:
    """One digest for all records of a segment, in whatever order they come."""
    return _hash(b"".join(sorted(map(record_digest, records))))


def row_digest(row: DeviceWindow) -> bytes:
    """What a conservation row says, in 16 bytes."""
    unobserved = [part for entry in row.unobserved_ns for part in entry]
    return _hash(
        encode(
            _VERSION,
            *_describe(row.segment),
            row.revision,
            row.idle_ns,
            len(row.unobserved_ns),
            *unobserved,
            row.record_count,
            row.records_digest,
            row.energy_start_mj,
            row.energy_end_mj,
            row.idle_energy_mj,
            row.unobserved_energy_mj,
            row.energy_source,
            row.interval_ns,
            row.stranded_compute_ns,
            row.stranded_memory_ns,
        )
    )


def _describe(segment: Segment) -> tuple[str | int | None, ...]:
    return (
        segment.device_id,
        segment.generation,
        segment.gpu_model,
        segment.boot.start_ns,
        segment.boot.end_ns,
        segment.wall_start_ns,
        segment.window_start_ns,
        segment.window_length_ns,
        segment.clock,
        *(segment.slices or _NO_SLICES),
        *(segment.partition or _NO_PARTITION),
    )
