"""The answers about periods: their states, and the proofs of those that are sealed."""

from collections.abc import Iterator
from typing import Any

from ..model.decisions import PeriodClosed, PeriodSealed
from ..model.interval import Interval
from ..model.merkle import Inclusion
from ..storage.projection_decisions import Stored, decided_in_force, overlays_in_force
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Scope
from ..storage.usage_store import StoredRecord
from .instants import format_instant
from .periods import PeriodState, find, judge, judge_unsealed, span_of
from .problems import Problem
from .sealing import Proven, Sealer, leaves_of, prove

Json = dict[str, Any]


def answer_periods(seen: Snapshot, span: Interval | None, offset: int, limit: int, tenant: str | None) -> Json:
    """Those that were closed or sealed, the latest first; of ``span`` the state, whatever was decided."""
    closed = {span_of(each.what): each for each in decided_in_force(seen, PeriodClosed)}
    sealed = {span_of(each.what): each for each in decided_in_force(seen, PeriodSealed)}
    spans = sorted(closed.keys() | sealed.keys(), reverse=True)
    items = [_period(seen, each, closed.get(each), sealed.get(each), tenant) for each in spans[offset : offset + limit]]
    asked: Json = {} if span is None else {"range": _judged(seen, span, tenant)}
    page = {"offset": offset, "limit": limit, "total_count": len(spans), "items": items}
    return {"as_of": str(seen.position), **asked, **page}


def _judged(seen: Snapshot, span: Interval, tenant: str | None) -> Json:
    judged = judge(seen, span)
    told = {**_edges(span), "state": judged.state}
    return told if tenant is not None else {**told, "missing": list(judged.missing)}


def _period(
    seen: Snapshot,
    span: Interval,
    closed: Stored[PeriodClosed] | None,
    sealed: Stored[PeriodSealed] | None,
    tenant: str | None,
) -> Json:
    state = PeriodState.SEALED if sealed else judge_unsealed(seen, span).state
    zone: Json = {} if closed is None else {"zone": closed.what.zone, "zone_data": closed.what.zone_data}
    return {
        **_edges(span),
        "state": state,
        **zone,
        "closed": None if closed is None else _origin(closed, tenant),
        "sealed": None if sealed is None else {**_origin(sealed, tenant), **show_seal(sealed)},
    }


def _edges(span: Interval) -> Json:
    return {"from": format_instant(span.start_ns), "to": format_instant(span.end_ns)}


def _origin(stored: Stored[Any], tenant: str | None) -> Json:
    """Who decided it, and in which words, is the operator's."""
    told: Json = {"log_id": str(stored.log_id), "decided_at": format_instant(stored.at_ns)}
    return told if tenant is not None else {**told, "by": stored.by, "why": stored.why}


def show_seal(stored: Stored[PeriodSealed]) -> Json:
    seal = stored.what
    return {
        "log_id": str(stored.log_id),
        **_edges(span_of(seal)),
        "as_of": str(seal.as_of),
        "root": seal.root.hex(),
        "leaves": seal.leaves,
        "signed": bool(seal.signature),
        "key_id": seal.key_id.hex(),
        "signature": seal.signature.hex(),
    }


def answer_proof(seen: Snapshot, sealer: Sealer, span: Interval, usage_key: bytes | None, tenant: str | None) -> Json:
    """Of one record, where a key is given. Raises Problem (404) for a period without a seal, or no such record."""
    stored = sealed_at(seen, span)
    public_key = sealer.public_key()
    told: Json = {
        "as_of": str(seen.position),
        "ledger": sealer.ledger.hex(),
        "public_key": None if public_key is None else public_key.hex(),
        "seal": show_seal(stored),
    }
    return told if usage_key is None else {**told, "record": _proof_of(seen, stored.what, usage_key, tenant)}


def sealed_at(seen: Snapshot, span: Interval) -> Stored[PeriodSealed]:
    stored = find(seen, PeriodSealed, span)
    if stored is None:
        raise Problem(404, "not-sealed", "no period with exactly these edges is sealed: GET /v1/periods lists them")
    return stored


def _proof_of(seen: Snapshot, seal: PeriodSealed, usage_key: bytes, tenant: str | None) -> Json:
    proven = prove(seen, seal, lambda record, _leaf: record.usage_key == usage_key)
    for leaf, record in proven.records.items():
        if tenant in (None, owner_of(seen, record, Scope(span_of(seal), seal.as_of))):
            return {**name_record(record), **show_inclusion(leaf, proven)}
    raise Problem(404, "no-such-record", "no record with this usage_key was in force when the period was sealed")


def owner_of(seen: Snapshot, record: StoredRecord, scope: Scope) -> str:
    """Its tenant by the last correction, or as it was sent."""
    told = [each.what for each in overlays_in_force(seen, scope) if each.what.usage_key == record.usage_key]
    return next((each.tenant for each in told if each.tenant), record.record.owner.tenant)


def name_record(record: StoredRecord) -> Json:
    return {
        "usage_key": record.usage_key.hex(),
        "revision": record.record.revision,
        "digest": record.digest.hex(),
    }


def show_inclusion(leaf: bytes, proven: Proven) -> Json:
    inclusion: Inclusion = proven.inclusions[leaf]
    return {"leaf": leaf.hex(), "index": inclusion.index, "path": [each.hex() for each in inclusion.path]}


def write_leaves(seen: Snapshot, span: Interval) -> Iterator[bytes]:
    """The leaves under a seal, sorted, a line of hexadecimal for each: who has them can compute the root."""
    seal = sealed_at(seen, span).what
    for leaf in leaves_of(seen, span, seal.as_of):
        yield leaf.hex().encode() + b"\n"
