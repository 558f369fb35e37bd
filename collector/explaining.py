"""Everything about a tenant's usage in a range, in one answer that can be checked without a collector.

A tenant that asks for its own is told nothing of others: frames, which hold many tenants' records, are left out; of a
record that was another's when it was sent only its leaf is told, which its inclusion under a seal can be shown by.
"""

from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..model.decisions import Adjusted, Corrected, Decided, Decision, ExclusionSet, PeriodSealed, RulesSet
from ..model.interval import Interval
from ..model.sealing import decision_leaf, record_leaf
from ..model.usage import Batch
from ..model.workload import UNATTRIBUTED, Owner
from ..proto.convert import encode_batch
from ..proto.convert_decision import encode_decided
from ..storage.ledger_reader import Entry, LedgerReader
from ..storage.projection_decisions import Stored, adjustments_in, decided_in_force, overlays_in_force
from ..storage.projection_lists import Picked, records, records_at
from ..storage.projection_reader import Snapshot
from ..storage.projection_sql import AsSent
from ..storage.usage_query import Scope
from ..storage.usage_store import RecordPlace, StoredRecord
from .bodies import show
from .instants import format_instant
from .list_answers import describe_record
from .period_answers import show_inclusion, show_seal
from .periods import span_of
from .problems import BadParameter
from .sealing import Proven, Sealer, prove

Json = dict[str, Any]
FORMAT: Final = "gputally.explain/1"
MOST_RECORDS: Final = 10_000
MOST_FRAME_BYTES: Final = 48 * 1024 * 1024
_READ_AT_ONCE: Final = 64
"""Entries, as many as one batch of the log has: more would be unpacked for a frame that lies alone."""
_READ_AT_ONCE_BYTES: Final = 256 * 1024
_FIRST: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class ExplainAsked:
    span: Interval
    tenant: str
    workload: str | None
    frames: bool
    of_a_tenant: bool
    """Whether the tenant itself asks."""


@dataclass(frozen=True, slots=True)
class _Known:
    """One revision of a record: as sent, and as it stands after corrections, if it is the tenant's."""

    sent: StoredRecord
    now: StoredRecord | None
    in_force: bool
    """No later revision has taken its place, whoever has it now."""
    counts: bool

    @property
    def leaf(self) -> bytes:
        return record_leaf(self.sent.usage_key, self.sent.record.revision, self.sent.digest)


def explain(asked: ExplainAsked, seen: Snapshot, ledger: LedgerReader, sealer: Sealer) -> Json:
    """Raises BadParameter for more than one file should hold."""
    known = _known(asked, seen)
    scope = Scope(asked.span, seen.position)
    keys = {each.sent.usage_key for each in known}
    overlays = [each for each in overlays_in_force(seen, scope) if each.what.usage_key in keys]
    exclusions = list(_exclusions(asked, seen))
    entries = _entries(ledger, {each.sent.place[0] for each in known}, asked.frames)
    booked = _booked(asked, seen)
    decided = [decision_leaf(each.what) for part in (overlays, exclusions, booked) for each in part]
    seals = _proven(seen, asked.span, {each.leaf for each in known}, decided)
    public_key = sealer.public_key()
    return {
        "format": FORMAT,
        "as_of": str(seen.position),
        "ledger": sealer.ledger.hex(),
        "public_key": None if public_key is None else public_key.hex(),
        "tenant": asked.tenant,
        "workload": asked.workload,
        "range_from": format_instant(asked.span.start_ns),
        "range_to": format_instant(asked.span.end_ns),
        "totals": _totals(known),
        "records": [_record(asked, each, entries[each.sent.place[0]], seals) for each in known],
        "corrections": [_decision(asked, each, Corrected((each.what,)), seals) for each in overlays],
        "exclusions": [_decision(asked, each, each.what, seals) for each in exclusions],
        "adjustments": [_decision(asked, each, each.what, seals) for each in booked],
        "rules": _rules(asked, seen, known),
        "seals": [show_seal(stored) for stored, _ in seals],
        "heads": _heads(ledger, sorted({each.sent.host_id for each in known})),
        "frames": _frames(entries.values()) if asked.frames else [],
    }


def _known(asked: ExplainAsked, seen: Snapshot) -> list[_Known]:
    """What was the tenant's as sent, whatever became of it, and what was given to it since; in the log's order."""
    scope = Scope(asked.span, seen.position, asked.tenant)
    now = {each.place: each for each in _all(seen, scope, Picked(workload=asked.workload))}
    void = {each.place: each for each in _all(seen, scope, Picked(workload=asked.workload, voided=True))}
    sent = {each.place: each for each in _all(seen, scope, Picked(workload=asked.workload, sent=AsSent.EVER))}
    last = {each.place for each in _all(seen, scope, Picked(workload=asked.workload, sent=AsSent.IN_FORCE))}
    given: Sequence[RecordPlace] = sorted((now.keys() | void.keys()) - sent.keys())
    if given:
        everybodys = replace(scope, tenant=None)
        sent |= {each.place: each for each in records_at(seen, everybodys, given, sent=AsSent.IN_FORCE)}
    if len(sent) > MOST_RECORDS:
        raise _too_many()
    last |= set(given)
    return [_Known(sent[place], now.get(place, void.get(place)), place in last, place in now) for place in sorted(sent)]


def _all(seen: Snapshot, scope: Scope, picked: Picked) -> list[StoredRecord]:
    found = records(seen, scope, _FIRST, MOST_RECORDS + 1, picked)
    if len(found) > MOST_RECORDS:
        raise _too_many()
    return found


def _too_many() -> BadParameter:
    return BadParameter("range_to", f"spans more than {MOST_RECORDS} records: explain a shorter range, or one workload")


def _totals(known: Iterable[_Known]) -> Json:
    counted = [each.sent.record.allocated_ns for each in known if each.counts]
    return {"records": len(counted), "allocated_ns": str(sum(counted))}


def _record(asked: ExplainAsked, known: _Known, entry: Entry, seals: "_Seals") -> Json:
    whole = not asked.of_a_tenant or known.sent.record.owner.tenant in (asked.tenant, UNATTRIBUTED)
    # Voided since, it is nobody's: the tenant may have had it, and is told no other name.
    shown = known.sent if whole else known.now or replace(known.sent, owner=Owner(asked.tenant))
    return {
        "record": describe_record(shown) | {"digest": known.sent.digest.hex()},
        "as_sent": _packed(known.sent) if whole else None,
        "in_force": known.in_force,
        "counts": known.counts,
        "leaf": known.leaf.hex(),
        "frame": _place(entry),
        "proof": _proof(known.leaf, seals),
    }


def _packed(stored: StoredRecord) -> str:
    return b64encode(encode_batch(Batch(stored.host_id, stored.boot_id, (stored.record,)))).decode()


def _place(entry: Entry) -> Json:
    return {
        "host": entry.stream.host_id,
        "epoch": entry.stream.epoch.hex(),
        "seq": str(entry.seq),
        "hash": entry.hash.hex(),
        "log_id": str(entry.log_id),
    }


def _decision(asked: ExplainAsked, stored: Stored[Any], what: Decision, seals: "_Seals") -> Json:
    """As it was decided; to a tenant without the names of others and the words of operators."""
    leaf = decision_leaf(stored.what)
    told = show(stored, asked.tenant if asked.of_a_tenant else None) | {
        "leaf": leaf.hex(),
        "proof": _proof(leaf, seals),
    }
    if not asked.of_a_tenant:
        return told | {"decided": b64encode(encode_decided(Decided("", 0, "", what))).decode()}
    foreign = stored.what.tenant not in ("", asked.tenant)
    return told | {"decided": None} | ({"tenant": None, "project": None} if foreign else {})


def _exclusions(asked: ExplainAsked, seen: Snapshot) -> Iterator[Stored[ExclusionSet]]:
    for stored in decided_in_force(seen, ExclusionSet):
        what = stored.what
        touches = what.from_ns < asked.span.end_ns and what.to_ns > asked.span.start_ns
        if touches and not what.ended and what.tenant in ("", asked.tenant):
            yield stored


def _booked(asked: ExplainAsked, seen: Snapshot) -> list[Stored[Adjusted]]:
    """What is charged to the tenant beside the records of the range. No amount is of one workload."""
    if asked.workload is not None:
        return []
    found = adjustments_in(seen, Scope(asked.span, seen.position, asked.tenant), limit=MOST_RECORDS + 1)
    if len(found) > MOST_RECORDS:
        raise _too_many()
    return found


def _rules(asked: ExplainAsked, seen: Snapshot, known: Iterable[_Known]) -> list[Json]:
    """The versions by which owners were found; what they say is for those who may see all tenants."""
    versions = sorted({each.sent.record.rules_version for each in known})
    bodies: Mapping[str, str] = {}
    if not asked.of_a_tenant:
        bodies = {each.what.version: each.what.body for each in decided_in_force(seen, RulesSet)}
    return [{"version": version, "body": bodies.get(version)} for version in versions]


_Seals = Sequence[tuple[Stored[PeriodSealed], Proven]]


def _proven(seen: Snapshot, span: Interval, leaves: Collection[bytes], decided: Collection[bytes]) -> _Seals:
    """Each seal that touches the range, with the proofs under it."""
    found: list[tuple[Stored[PeriodSealed], Proven]] = []
    wanted = frozenset(decided)
    for stored in decided_in_force(seen, PeriodSealed):
        sealed = span_of(stored.what)
        if sealed.start_ns < span.end_ns and sealed.end_ns > span.start_ns:
            found.append((stored, prove(seen, stored.what, lambda _, leaf: leaf in leaves, wanted)))
    return found


def _proof(leaf: bytes, seals: _Seals) -> Json | None:
    """By the first seal that has it; None: it is under none of them."""
    for stored, proven in seals:
        if leaf in proven.inclusions:
            told = show_inclusion(leaf, proven)
            return {"seal": str(stored.log_id), "index": told["index"], "path": told["path"]}
    return None


def _entries(ledger: LedgerReader, log_ids: Collection[int], frames: bool) -> dict[int, Entry]:
    """By log id; without their bodies unless ``frames``. What lies together is read together, and unpacked once.

    Raises BadParameter as soon as the bodies are too many.
    """
    found: dict[int, Entry] = {}
    size_bytes = read_through = 0
    for log_id in sorted(log_ids):
        if log_id <= read_through:
            continue
        read = ledger.read(log_id - 1, _READ_AT_ONCE, _READ_AT_ONCE_BYTES)
        read_through = read[-1].log_id
        picked = [entry for entry in read if entry.log_id in log_ids]
        found |= {entry.log_id: entry if frames else replace(entry, body=b"") for entry in picked}
        size_bytes += sum(len(entry.body) for entry in picked)
        if frames and size_bytes > MOST_FRAME_BYTES:
            raise _too_many_bytes()
    return found


def _too_many_bytes() -> BadParameter:
    return BadParameter("frames", f"are more than {MOST_FRAME_BYTES} bytes: give frames=false, or a shorter range")


def _heads(ledger: LedgerReader, hosts: list[str]) -> list[Json]:
    """Where the hosts' chains stand: each hash is the host's word on all frames before it."""
    told = [
        {
            "host": state.stream.host_id,
            "epoch": state.stream.epoch.hex(),
            "committed_seq": str(state.committed_seq),
            "head_hash": state.head_hash.hex(),
        }
        for state in (ledger.streams(hosts) if hosts else ())
    ]
    return sorted(told, key=lambda each: (each["host"], each["epoch"]))


def _frames(entries: Iterable[Entry]) -> list[Json]:
    return [_place(entry) | {"bytes": b64encode(entry.body).decode()} for entry in entries]
