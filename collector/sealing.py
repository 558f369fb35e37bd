"""Making a seal over what the projection holds of a period, proving what is under it, and checking its signature."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ..model.decisions import PeriodSealed
from ..model.interval import Interval
from ..model.key_ring import Check
from ..model.merkle import Inclusion, Root, Tree, root_of
from ..model.sealing import seal_message
from ..model.signing import key_id_of
from ..plugins.signing_key import BadSigningKey, load_key_file
from ..storage.projection_periods import period_leaves
from ..storage.projection_reader import Snapshot
from ..storage.sorted_spool import sorted_bytes
from ..storage.usage_query import Scope
from ..storage.usage_store import StoredRecord
from .problems import Problem

MOST_PROVEN: Final = 10_000


class TooManyProofs(ValueError):
    """More than one answer may hold."""


def leaves_of(seen: Snapshot, span: Interval, as_of: int) -> Iterator[bytes]:
    """Sorted. Raises NoRoom if they do not fit the disk's temporary folder."""
    return sorted_bytes(period_leaves(seen, Scope(span, as_of)))


def period_root(seen: Snapshot, span: Interval, as_of: int) -> Root:
    return root_of(leaves_of(seen, span, as_of))


@dataclass(slots=True)
class Proven:
    """Records under a seal, and what shows that they are."""

    root: Root
    inclusions: Mapping[bytes, Inclusion]
    """By leaf."""
    records: dict[bytes, StoredRecord] = field(default_factory=dict[bytes, StoredRecord])
    """As sent, by leaf."""


def prove(
    seen: Snapshot,
    seal: PeriodSealed,
    picks: Callable[[StoredRecord, bytes], bool],
    leaves: Collection[bytes] = (),
) -> Proven:
    """For the records that ``picks`` says yes to, and these leaves. Raises TooManyProofs."""
    found: dict[bytes, StoredRecord] = {}

    def notice(stored: StoredRecord, leaf: bytes) -> None:
        if picks(stored, leaf):
            found[leaf] = stored
            if len(found) > MOST_PROVEN:
                raise TooManyProofs(f"more than {MOST_PROVEN} records")

    scope = Scope(Interval(seal.from_ns, seal.to_ns), seal.as_of)
    tree = Tree()
    # All are seen, and so known to be wanted or not, before the first comes back from sorting.
    for leaf in sorted_bytes(period_leaves(seen, scope, notice)):
        tree.add(leaf, wanted=leaf in found or leaf in leaves)
    root = tree.finish()
    return Proven(root, tree.inclusions(), found)


@dataclass(frozen=True, slots=True)
class Sealer:
    """The ledger's name, and the file of the key it signs with; None: its seals are not signed."""

    ledger: bytes
    key_path: Path | None

    def seal(self, seen: Snapshot, span: Interval) -> PeriodSealed:
        """Over the period as it is now. Raises Problem (503) if the key cannot be read."""
        root = period_root(seen, span, seen.position)
        return self._signed(PeriodSealed(span.start_ns, span.end_ns, seen.position, root.hash, root.leaves))

    def _signed(self, seal: PeriodSealed) -> PeriodSealed:
        if self.key_path is None:
            return seal
        try:
            key = load_key_file(self.key_path)  # each time: a rotated key is taken up without a restart
        except BadSigningKey as error:
            raise Problem(503, "signing-key", f"ledger.signing_key: {error}") from None
        named = replace(seal, key_id=key.own.key_id)
        return replace(named, signature=key.secret.sign(seal_message(self.ledger, named)))

    def public_key(self) -> bytes | None:
        """Of the key that signs now; None: there is none, or it cannot be read."""
        try:
            return None if self.key_path is None else load_key_file(self.key_path).own.public_key
        except BadSigningKey:
            return None


def is_signed_by(ledger: bytes, seal: PeriodSealed, public_key: bytes, check: Check) -> bool:
    return key_id_of(public_key) == seal.key_id and check(public_key, seal_message(ledger, seal), seal.signature)
