"""Whether a file of ``gputally explain`` holds together: with nothing but the file, and a key that somebody trusts."""

from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ..model.decisions import Adjusted, Corrected, Decision, ExclusionSet, Overlay, PeriodSealed
from ..model.identity import record_digest, usage_key
from ..model.key_ring import Check
from ..model.merkle import Inclusion, Root, is_included
from ..model.sealing import decision_leaf, record_leaf
from ..proto.convert import decode_batch
from ..proto.convert_decision import decode_decided
from ..storage.frame import read_frame
from ..storage.projection_decisions import Stored
from ..storage.usage_store import StoredRecord
from .bodies import show
from .explaining import FORMAT
from .instants import parse_instant
from .list_answers import describe_record
from .parameters import parse_place
from .problems import Problem
from .sealing import is_signed_by

Json = Mapping[str, Any]


class NotExplained(Exception):
    """The file is none of ours; the message says why."""


@dataclass(slots=True)
class Verdict:
    """``problems``: what cannot be true. The rest says how much was checked."""

    problems: list[str] = field(default_factory=list[str])
    records: int = 0
    counted: int = 0
    proven: int = 0
    unsealed: int = 0
    """Records that no seal in the file covers."""
    in_frames: int = 0
    seals: list[str] = field(default_factory=list[str])


def read_seal(told: Json) -> PeriodSealed:
    """As the API shows it. Raises KeyError, TypeError or ValueError."""
    return PeriodSealed(
        from_ns=parse_instant(told["from"]),
        to_ns=parse_instant(told["to"]),
        as_of=int(told["as_of"]),
        root=bytes.fromhex(told["root"]),
        leaves=told["leaves"],
        key_id=bytes.fromhex(told["key_id"]),
        signature=bytes.fromhex(told["signature"]),
    )


def check_explained(told: Json, pinned: frozenset[bytes], check: Check | None) -> Verdict:
    """Raises NotExplained."""
    try:
        if told["format"] != FORMAT:
            raise NotExplained(f"is of format {told['format']}, this gputally knows {FORMAT}")
        return _Checking(told, pinned, check).run()
    except (KeyError, TypeError, ValueError, AttributeError, Problem) as error:
        raise NotExplained(f"is no file of `gputally explain`: {type(error).__name__}: {error}") from None


class _Checking:
    def __init__(self, told: Json, pinned: frozenset[bytes], check: Check | None) -> None:
        self._told, self._pinned, self._check = told, pinned, check
        self._verdict = Verdict()
        self._seals = {seal["log_id"]: read_seal(seal) for seal in told["seals"]}
        self._frames: dict[str, set[bytes]] = {}

    def run(self) -> Verdict:
        for log_id, seal in self._seals.items():
            self._verdict.seals.append(self._seal(log_id, seal))
        for frame in self._told["frames"]:
            self._frame(frame)
        for each in self._told["records"]:
            self._record(each)
        # Files that were made before there were adjustments in them have none.
        for each in (*self._told["corrections"], *self._told["exclusions"], *self._told.get("adjustments", ())):
            self._decision(each)
        self._totals()
        self._void()
        return self._verdict

    def _seal(self, log_id: str, seal: PeriodSealed) -> str:
        if not seal.signature:
            if self._pinned:
                self._wrong(f"the seal at {log_id} is not signed")
            return f"{log_id}: not signed"
        if self._check is None:
            return f"{log_id}: signature not checked"
        keys = self._pinned or _claimed(self._told)
        if any(is_signed_by(bytes.fromhex(self._told["ledger"]), seal, key, self._check) for key in keys):
            return f"{log_id}: signed by key {seal.key_id.hex()}{'' if self._pinned else ', which is not pinned'}"
        self._wrong(
            f"the seal at {log_id} is not signed by a key that is {'pinned' if self._pinned else 'in the file'}"
        )
        return f"{log_id}: wrongly signed"

    def _frame(self, frame: Json) -> None:
        raw = b64decode(frame["bytes"], validate=True)
        name = f"frame {frame['seq']} of {frame['host']}"
        if sha256(raw).hexdigest() != frame["hash"]:
            self._wrong(f"{name} has another hash")
            return
        read = read_frame(raw)
        batch = decode_batch(read.payload())
        if (batch.host_id, read.epoch.hex(), str(read.seq)) != (frame["host"], frame["epoch"], frame["seq"]):
            self._wrong(f"{name} is another frame")
        leaves = (
            record_leaf(usage_key(batch.host_id, batch.boot_id, each), each.revision, record_digest(each))
            for each in batch.records
        )
        self._frames[frame["log_id"]] = set(leaves)

    def _record(self, each: Json) -> None:
        shown, leaf = each["record"], bytes.fromhex(each["leaf"])
        self._verdict.records += 1
        self._verdict.counted += each["counts"] is True
        name = f"record {shown['usage_key']} revision {shown['revision']}"
        named = record_leaf(bytes.fromhex(shown["usage_key"]), shown["revision"], bytes.fromhex(shown["digest"]))
        if named != leaf:
            self._wrong(f"{name} is not what its leaf says")
        if each["as_sent"] is not None and not _is_as_sent(each, leaf):
            self._wrong(f"{name} is not what its host sent")
        held = self._frames.get(each["frame"]["log_id"])
        if held is not None:
            self._verdict.in_frames += leaf in held
            if leaf not in held:
                self._wrong(f"{name} is not in the frame that is named")
        self._proof(name, each, self._is_sealed(shown))

    def _is_sealed(self, shown: Json) -> bool:
        start_ns = parse_instant(shown["window_start"])
        return any(seal.from_ns <= start_ns < seal.to_ns for seal in self._seals.values())

    def _proof(self, name: str, each: Json, sealed: bool) -> None:
        if each["proof"] is None:
            self._verdict.unsealed += not sealed
            if sealed and each["in_force"]:
                self._wrong(f"{name} is in force in a sealed period, and not under its seal")
            return
        if self._is_under(bytes.fromhex(each["leaf"]), each["proof"]):
            self._verdict.proven += 1
        else:
            self._wrong(f"{name}: its proof does not lead to the seal's root")

    def _is_under(self, leaf: bytes, proof: Json) -> bool:
        seal = self._seals.get(proof["seal"])
        inclusion = Inclusion(proof["index"], tuple(map(bytes.fromhex, proof["path"])))
        return seal is not None and is_included(leaf, inclusion, Root(seal.root, seal.leaves))

    def _decision(self, each: Json) -> None:
        leaf = bytes.fromhex(each["leaf"])
        name = f"the decision at {each['log_id']}"
        if each["decided"] is not None and not _is_as_decided(each, leaf):
            self._wrong(f"{name} is not what was decided")
        if each["proof"] is not None and not self._is_under(leaf, each["proof"]):
            self._wrong(f"{name}: its proof does not lead to the seal's root")

    def _totals(self) -> None:
        counted = [int(each["record"]["allocated_ns"]) for each in self._told["records"] if each["counts"]]
        if self._told["totals"] != {"records": len(counted), "allocated_ns": str(sum(counted))}:
            self._wrong("the totals are not those of the records that count")

    def _void(self) -> None:
        """A record does not count twice, nor one that the last word on it has voided."""
        counts = Counter(each["record"]["usage_key"] for each in self._told["records"] if each["counts"])
        void = {each["usage_key"] for each in self._told["corrections"] if each["kind"] == "void"}
        for key, times in counts.items():
            if times > 1 or key in void:
                self._wrong(f"record {key} counts {'twice' if times > 1 else 'although it is void'}")

    def _wrong(self, what: str) -> None:
        self._verdict.problems.append(what)


def _claimed(told: Json) -> Iterator[bytes]:
    if told["public_key"] is not None:
        yield bytes.fromhex(told["public_key"])


def _is_as_sent(each: Json, leaf: bytes) -> bool:
    batch = decode_batch(b64decode(each["as_sent"], validate=True))
    if len(batch.records) != 1:
        return False
    (record,) = batch.records
    key = usage_key(batch.host_id, batch.boot_id, record)
    place = parse_place("place", each["record"]["place"])
    described = describe_record(StoredRecord(place, batch.host_id, batch.boot_id, record, record.owner))
    return described == each["record"] and record_leaf(key, record.revision, record_digest(record)) == leaf


def _is_as_decided(each: Json, leaf: bytes) -> bool:
    what: Decision = decode_decided(b64decode(each["decided"], validate=True)).what
    part: Overlay | ExclusionSet | Adjusted
    if isinstance(what, Corrected) and len(what.overlays) == 1:
        (part,) = what.overlays
    elif isinstance(what, ExclusionSet | Adjusted):
        part = what
    else:
        return False
    shown = show(Stored(int(each["log_id"]), each["by"], parse_instant(each["decided_at"]), each["why"], part))
    return decision_leaf(part) == leaf and all(each[name] == value for name, value in shown.items())
