"""The answers of GET /v1/hosts, /v1/records and /v1/quarantine: pages of what is stored, row by row."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..model.interval import Interval
from ..storage.ledger_port import LedgerReading, StreamState
from ..storage.projection_lists import Picked, hosts, lost_frames, quarantine, records
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Scope
from ..storage.usage_store import HostState, LostFrames, RecordPlace, StoredRecord
from .doubles import Doubles, Signs
from .instants import format_instant

Json = dict[str, Any]
_STREAMS_OF_A_HOST = 10
_LOSSES_OF_A_HOST = 10


@dataclass(frozen=True, slots=True)
class Presence:
    """What the intake knows of hosts at this moment."""

    live: set[str]
    doubles: Doubles


def answer_hosts(snapshot: Snapshot, ledger: LedgerReading, now: Presence, offset: int, limit: int) -> Json:
    page, count = hosts(snapshot, offset, limit)
    by_host: defaultdict[str, list[StreamState]] = defaultdict(list)
    for state in ledger.streams([host.host_id for host in page], most=limit * _STREAMS_OF_A_HOST):
        by_host[state.stream.host_id].append(state)
    lost: defaultdict[str, list[Json]] = defaultdict(list)
    for each in lost_frames(snapshot, [host.host_id for host in page], _LOSSES_OF_A_HOST):
        lost[each.host_id].append(_lost(each))
    items = [
        _host(host, by_host[host.host_id], host.host_id in now.live)
        | {"lost": lost[host.host_id], "doubled": _doubled(now.doubles.of(host.host_id))}
        for host in page
    ]
    return {"as_of": str(snapshot.position), "offset": offset, "limit": limit, "total_count": count, "items": items}


def _host(host: HostState, streams: Sequence[StreamState], live: bool) -> Json:
    return {
        "host": host.host_id,
        "connected": live,
        "complete_through": _instant(host.watermark_ns),
        "first_window": _instant(host.first_window_ns),
        "last_frame_at": _instant(host.last_received_ns),
        "frames": host.frames,
        "records": host.records,
        "duplicates": host.duplicates,
        "superseded": host.superseded,
        "stale": host.stale,
        "late": host.late,
        "quarantined": host.quarantined,
        "rejected_frames": host.rejected_frames,
        "forks": host.forks,
        "replayed_frames": sum(stream.replays for stream in streams),
        "skipped_frames": sum(stream.skipped for stream in streams),
        "streams": [_stream(stream) for stream in streams],
    }


def _doubled(signs: Signs) -> Json:
    return {
        "host_id_in_use": signs.host_id_in_use,
        "forks_refused": signs.forks_refused,
        "epochs_returned": signs.epochs_returned,
        "last_at": _instant(signs.last_at_ns),
    }


def _lost(lost: LostFrames) -> Json:
    return {"epoch": lost.epoch.hex(), "first_seq": str(lost.first_seq), "last_seq": str(lost.last_seq)}


def _stream(state: StreamState) -> Json:
    return {
        "epoch": state.stream.epoch.hex(),
        "committed_seq": state.committed_seq,
        "head_hash": state.head_hash.hex(),
        "tombstones": state.tombstones,
        "skipped_frames": state.skipped,
        "replays": state.replays,
        "last_received_at": _instant(state.last_received_ns),
    }


@dataclass(frozen=True, slots=True)
class RecordsRequest:
    span: Interval
    host_id: str | None
    workload: str | None
    after: RecordPlace
    limit: int


def answer_records(request: RecordsRequest, snapshot: Snapshot, tenant: str | None) -> Json:
    """``next`` is the cursor of the next page, to be given as ``after``; None on the last."""
    scope = Scope(request.span, snapshot.position, tenant)
    found = records(snapshot, scope, request.after, request.limit + 1, Picked(request.host_id, request.workload))
    page = found[: request.limit]
    more = len(found) > len(page)
    return {
        "as_of": str(snapshot.position),
        "limit": request.limit,
        "count": len(page),
        "next": format_place(page[-1].place) if more else None,
        "items": [describe_record(stored) for stored in page],
    }


def format_place(place: RecordPlace) -> str:
    return ".".join(map(str, place))


def describe_record(stored: StoredRecord) -> Json:
    """All that is known of a usage record, in words and strings."""
    record, segment = stored.record, stored.record.segment
    return {
        "log_id": str(stored.place[0]),
        "place": format_place(stored.place),
        "usage_key": stored.usage_key.hex(),
        "revision": record.revision,
        "digest": stored.digest.hex(),
        "host": stored.host_id,
        "boot_id": stored.boot_id,
        "device": segment.device_id,
        "generation": segment.generation,
        "gpu_model": segment.gpu_model,
        "window_start": format_instant(segment.window_start_ns),
        "window_length_ns": str(segment.window_length_ns),
        "segment_wall_start": format_instant(segment.wall_start_ns),
        "segment_boot_start_ns": str(segment.boot.start_ns),
        "segment_length_ns": str(segment.boot.length_ns),
        "clock": segment.clock,
        "workload": record.workload.subject_id,
        "session": record.session_id,
        "org": stored.owner.tenant,
        "project": stored.owner.project,
        "rule": stored.owner.rule,
        "reason": stored.owner.reason,
        "tags": dict(record.owner.tags),
        "claim": record.claim,
        "sharing": record.sharing,
        "sharing_version": record.sharing_version,
        "outside_claim": record.outside_claim,
        "slices": None if record.segment.slices is None else record.segment.slices._asdict(),
        "allocated_ns": str(record.allocated_ns),
        "held_ns": str(record.held_ns),
        "blind_ns": str(record.blind_ns),
        "inferred_ns": str(record.inferred_ns),
        "busy_ns": str(record.busy_ns),
        "busy_known_ns": str(record.busy_known_ns),
        "gpu_memory_byte_ms": _known(record.gpu_memory_byte_ms),
        "energy_mj": _known(record.energy_mj),
        "edge_uncertainty_ns": str(record.edge_uncertainty_ns),
        "edges": record.edges,
        "rules_version": record.rules_version,
        "evidence": record.evidence,
    }


def answer_quarantine(snapshot: Snapshot, offset: int, limit: int) -> Json:
    page, count = quarantine(snapshot, offset, limit)
    return {
        "as_of": str(snapshot.position),
        "offset": offset,
        "limit": limit,
        "total_count": count,
        "items": [_put_aside(columns) for columns in page],
    }


def _put_aside(columns: dict[str, Any]) -> Json:
    return {
        "log_id": str(columns["log_id"]),
        "host": columns["host_id"],
        "device": columns["device_id"] or None,
        "from": _instant(columns["from_ns"]),
        "to": _instant(columns["to_ns"]),
        "records": columns["records"],
        "allocated_ns": str(columns["allocated_ns"]),
        "what": columns["what"],
    }


def _known(amount: int | None) -> str | None:
    """A string, or None for what was not known, which is not zero."""
    return None if amount is None else str(amount)


def _instant(instant_ns: int | None) -> str | None:
    return None if instant_ns is None else format_instant(instant_ns)
