"""Names that never change: the key of a usage record and the digest of its content.

Both are blake2b-128 over a canonical encoding that docs/formats.md fixes with
test vectors: each field is one tag byte and either a length and UTF-8 bytes, or
a 16-byte big-endian integer, or nothing at all where the value is unknown.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Final

from .usage import DeviceWindow, Partition, Segment, Slices, UsageRecord
from .workload import Owner

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


_PART_VERSION: Final = encode(_VERSION)


def _hash(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=16).digest()


def segment_key(host_id: str, boot_id: str, segment: Segment) -> bytes:
    """Names a device's segment: 16 bytes."""
    return _hash(encode(_VERSION, "segment", host_id, boot_id, *_place(segment)))


def usage_key(host_id: str, boot_id: str, record: UsageRecord) -> bytes:
    """Names a usage record: 16 bytes. No tenant in it: attributing anew is a revision, not a second count."""
    return usage_key_of(host_id, boot_id, *_place(record.segment), record.workload.subject_id, record.session_id)


def usage_key_of(
    host_id: str, boot_id: str, device_id: str, generation: int, boot_start_ns: int, subject_id: str, session_id: str
) -> bytes:
    """The same from its parts."""
    parts = (host_id, boot_id, device_id, generation, subject_id, session_id, boot_start_ns)
    return _hash(encode(_VERSION, "usage", *parts))


def _place(segment: Segment) -> tuple[str, int, int]:
    return segment.device_id, segment.generation, segment.boot.start_ns


def record_digest(record: UsageRecord) -> bytes:
    """What a record says, in 16 bytes, whatever bytes carried it."""
    return _hash(
        b"".join(
            (
                _segment_part(record.segment),
                _text_part(record.workload.kind, record.workload.id, record.session_id),
                _encode_one(record.revision),
                _owner_part(record.owner),
                _integers(
                    record.allocated_ns,
                    record.held_ns,
                    record.blind_ns,
                    record.inferred_ns,
                    record.busy_ns,
                    record.busy_known_ns,
                ),
                _encode_one(record.gpu_memory_byte_ms),
                _encode_one(record.energy_mj),
                _text_part(record.claim, record.sharing),
                _encode_one(int(record.outside_claim)),
                _encode_one(record.edge_uncertainty_ns),
                _text_part(record.rules_version, record.evidence),
                _encode_one(record.sharing_version),
                _text_part(record.edges),
            )
        )
    )


# A frame says the same owners, names and segments over and over; encoding them was most of a digest's cost.


def _segment_part(segment: Segment) -> bytes:
    boot = segment.boot
    return b"".join(
        (
            _PART_VERSION,
            _text_part(segment.device_id),
            _encode_one(segment.generation),
            _text_part(segment.gpu_model),
            _integers(
                boot.start_ns, boot.end_ns, segment.wall_start_ns, segment.window_start_ns, segment.window_length_ns
            ),
            _text_part(segment.clock),
            _slices_part(segment.slices, segment.partition),
        )
    )


@lru_cache(maxsize=256)
def _slices_part(slices: Slices | None, partition: Partition | None) -> bytes:
    return encode(*(slices or _NO_SLICES), *(partition or _NO_PARTITION))


@lru_cache(maxsize=1024)
def _owner_part(owner: Owner) -> bytes:
    tags = [part for tag in owner.tags for part in tag]
    return encode(owner.tenant, owner.project, owner.rule, owner.reason, len(owner.tags), *tags)


@lru_cache(maxsize=4096)
def _text_part(*texts: str) -> bytes:
    return encode(*texts)


_STRUCTS: Final = tuple(Struct(">" + "cQQ" * count) for count in range(7))


def _integers(*values: int) -> bytes:
    """The same as ``encode``, in one call where all of them are as small as a record's amounts are."""
    if min(values) < 0 or max(values) >= 2**64:
        return encode(*values)
    told: list[int | bytes] = []
    for value in values:
        told += _INTEGER, 0, value
    return _STRUCTS[len(values)].pack(*told)


def records_digest(records: tuple[UsageRecord, ...] | list[UsageRecord]) -> bytes:
    """One digest for all records of a segment, in whatever order they come."""
    return joined_digest(map(record_digest, records))


def joined_digest(digests: Iterable[bytes]) -> bytes:
    """The same, of record digests."""
    return _hash(b"".join(sorted(digests)))


def row_digest(row: DeviceWindow) -> bytes:
    """What a conservation row says, in 16 bytes."""
    unobserved = [part for entry in row.unobserved_ns for part in entry]
    return _hash(
        _segment_part(row.segment)
        + encode(
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
