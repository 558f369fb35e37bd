"""Whether the seals of a ledger, or of a copy of one, still stand for what its log says.

The log is folded anew into a folder that is thrown away, up to where each seal says it was made; then conservation
and the root are computed from it as they were then. Memory does not grow with the ledger; the folder does, as the
projection.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ..model.decisions import OWN_HOST_ID, PeriodSealed
from ..model.interval import Interval
from ..model.key_ring import Check
from ..model.signing import key_id_of
from ..proto.convert_decision import decode_decided
from ..storage.frame import read_frame
from ..storage.ledger_copy import FRAME, LedgerCopy
from ..storage.ledger_folder import LedgerError
from ..storage.ledger_reader import LedgerReader
from ..storage.projection import Projection
from ..storage.projection_decisions import decided
from ..storage.projection_reader import Snapshot, snapshot
from .conservation_answer import ConservationRequest, answer_conservation
from .projector import Projector
from .sealing import is_signed_by, period_root

_MOST_SEALS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FoundSeal:
    """As it stands in the log."""

    ledger: bytes
    log_id: int
    seal: PeriodSealed

    @property
    def span(self) -> Interval:
        return Interval(self.seal.from_ns, self.seal.to_ns)


@dataclass(frozen=True, slots=True)
class SealReport:
    log_id: int
    from_ns: int
    to_ns: int
    as_of: int
    root: bytes
    leaves: int
    key_id: bytes
    signature: str
    """right, or: unsigned, wrong, by a key that is not pinned, not checked."""
    wrong: str
    """Why it does not stand for what the log says; empty: it does."""
    effective: bool
    """False: something of the period came between what it covers and itself, so that nothing rests on it."""


def read_seals(folder: Path) -> list[FoundSeal]:
    """In the order of the log. What cannot be read is the audit's to tell. Raises LedgerError."""
    found: list[FoundSeal] = []
    with LedgerCopy(folder) as ledger:
        for stream in ledger.streams(OWN_HOST_ID):
            after_seq = 0
            while rows := ledger.rows(stream, after_seq)[1]:
                seals = ((row.log_id, _seal_in(row.body)) for row in rows if row.kind == FRAME)
                found += [FoundSeal(stream.id.epoch, log_id, seal) for log_id, seal in seals if seal is not None]
                after_seq = rows[-1].seq
    return sorted(found, key=lambda each: each.log_id)


def _seal_in(body: bytes) -> PeriodSealed | None:
    try:
        what = decode_decided(read_frame(body).payload()).what
    except ValueError:
        return None
    return what if isinstance(what, PeriodSealed) else None


def audit_seals(
    folder: Path, seals: Sequence[FoundSeal], pinned: frozenset[bytes], check: Check | None
) -> Iterator[SealReport]:
    """A report for each, in the order of what they cover. Raises LedgerError, for one a disk without room."""
    if not seals:
        return
    with _Replay(folder, seals[0].ledger.hex()) as replay:
        wrong = [(each, _wrong(replay, each)) for each in sorted(seals, key=lambda each: each.seal.as_of)]
        effective = replay.effective(max(each.log_id for each in seals))
    before: list[FoundSeal] = []
    for each, what in wrong:
        holds = each.log_id in effective
        yield _report(each, _signature(each, pinned, check), (what or _overlap(each, before)) if holds else "", holds)
        before += [each] if holds else []


def _overlap(found: FoundSeal, before: Sequence[FoundSeal]) -> str:
    for each in before:
        if each.span.start_ns < found.span.end_ns and each.span.end_ns > found.span.start_ns:
            return f"overlaps the period that log entry {each.log_id} has sealed"
    return ""


def unchecked(found: FoundSeal, pinned: frozenset[bytes], check: Check | None, why: str) -> SealReport:
    """For a log that cannot be folded."""
    return _report(found, _signature(found, pinned, check), why, True)


def _report(found: FoundSeal, signature: str, wrong: str, effective: bool) -> SealReport:
    seal = found.seal
    return SealReport(
        *(found.log_id, seal.from_ns, seal.to_ns, seal.as_of, seal.root, seal.leaves, seal.key_id),
        *(signature, wrong, effective),
    )


def _wrong(replay: "_Replay", found: FoundSeal) -> str:
    """Why the log as it was then is not what was sealed."""
    seal = found.seal
    if not 0 <= seal.as_of < found.log_id:
        return f"says it was made as of log entry {seal.as_of}, and stands itself at {found.log_id}"
    try:
        replay.fold(seal.as_of)
        with replay.snapshot() as seen:
            return _compared(seen, found.span, seal)
    except ValueError as error:
        return f"cannot be recomputed: {error}"


def _compared(seen: Snapshot, span: Interval, seal: PeriodSealed) -> str:
    root = period_root(seen, span, seal.as_of)
    if (root.hash, root.leaves) != (seal.root, seal.leaves):
        return (
            f"was made over {seal.leaves} leaves with root {seal.root.hex()}; "
            f"the log has {root.leaves} with root {root.hash.hex()}"
        )
    # A hole that was declared is under the seal itself: its time was told not to come before anybody sealed.
    asked = ConservationRequest(span, None, 0, 1, undeclared=True)
    exact = answer_conservation(asked, seen)["summary"]["exact"]
    return "" if exact else "time of a device in it does not add up: see /v1/conservation"


def _signature(found: FoundSeal, pinned: frozenset[bytes], check: Check | None) -> str:
    if not found.seal.signature:
        return "unsigned"
    if check is None:
        return "not checked"
    if any(is_signed_by(found.ledger, found.seal, key, check) for key in pinned):
        return "right"
    return "wrong" if found.seal.key_id in map(key_id_of, pinned) else "by a key that is not pinned"


class _Replay:
    """A projection of the log in a folder of its own, as far as it was folded."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._stack = ExitStack()

    def __enter__(self) -> "_Replay":
        with ExitStack() as stack:
            made = Path(stack.enter_context(TemporaryDirectory(prefix="gputally-verify-")))
            with LedgerReader(self._folder) as reader:
                self._end = reader.last_log_id()
            self._store = Projection(made, self._name, 0)
            stack.callback(self._store.close)
            self._projector = Projector(self._store, self._folder, lambda: None)
            stack.callback(self._projector.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fold(self, through: int) -> None:
        """Raises LedgerError, also where the log does not go so far."""
        while self._store.position < through:
            if not self._projector.fold_some(through):
                raise LedgerError(f"{self._folder}: the log ends at entry {self._end}, a seal covers {through}")

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        return snapshot(self._store)

    def effective(self, through: int) -> set[int]:
        """The log ids of seals that hold, as the collector has them."""
        self.fold(through)
        with snapshot(self._store) as seen:
            # All that have a row, not only the last of each period: a second seal must not hide the first.
            return {each.log_id for each in decided(seen, PeriodSealed, 0, _MOST_SEALS)[0]}
