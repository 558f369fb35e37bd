"""The price lists in the ledger: read back as values, and checked before one is added."""

from collections.abc import Sequence

from ..model.catalogue import Catalogue, canonical_body
from ..model.catalogue_order import NotAddable, changes_within, check_addition, in_force
from ..model.catalogue_read import read_catalogue
from ..model.decisions import CatalogueSet
from ..model.interval import Interval
from ..model.settings import BadSettings
from ..storage.projection_decisions import decided_in_force
from ..storage.projection_reader import Snapshot
from ..storage.usage_query import Scope
from .catalogue_file import parse_json
from .config import SkuConfig
from .instants import format_instant, parse_instant
from .problems import BadParameter, Problem


def known_catalogues(snapshot: Snapshot, as_of: int | None = None) -> list[Catalogue]:
    """The last word on every version, as of a log id."""
    return [_parse(stored.what.body) for stored in decided_in_force(snapshot, CatalogueSet, as_of)]


def catalogues_for(snapshot: Snapshot, scope: Scope) -> list[Catalogue]:
    """Those by which ``scope`` may be rated: a tenant is told of no prices that begin after what it asks about."""
    known = known_catalogues(snapshot, scope.as_of)
    return known if scope.tenant is None else [each for each in known if each.effective_from_ns < scope.span.end_ns]


def choose_catalogue(known: Sequence[Catalogue], version: str | None, span: Interval) -> Catalogue:
    """The version that was asked for, or else the one in force over all of ``span``. Raises Problem."""
    if version is not None:
        return find_catalogue(known, version, "catalogue")
    found = in_force(known, span.start_ns)
    if found is None:
        raise Problem(404, "no-catalogue", f"no catalogue is in force at {format_instant(span.start_ns)}: name one")
    changes = changes_within(known, span.start_ns, span.end_ns)
    if changes:
        when = ", ".join(format_instant(each.effective_from_ns) for each in changes)
        raise BadParameter("range_to", f"lies beyond a change of prices ({when}): cut the range there, or name one")
    return found


def find_catalogue(known: Sequence[Catalogue], version: str, parameter: str) -> Catalogue:
    for each in known:
        if each.version == version:
            return each
    # Not which there are: whoever asks may be a tenant, and what a version is called may speak of another.
    raise BadParameter(parameter, f'is "{version}", which the ledger has not: GET /v1/catalogues lists them')


def check_catalogue(what: CatalogueSet, known: Sequence[Catalogue], now_ns: int) -> None:
    """Whether a version may be decided now: its body says what it says, and it prices no past again.

    Raises Problem: 400 for a body that is none, 409 for a version that cannot change any more.
    """
    new = _read(what)
    told = (what.version, what.effective_from_ns, what.effective_to_ns)
    if told != (new.version, new.effective_from_ns, new.effective_to_ns):
        raise BadParameter("body", "says another version, effective_from or effective_to than stands beside it")
    if canonical_body(new).decode() != what.body:
        raise BadParameter("body", "is not in canonical form: `gputally catalogue show FILE` prints it")
    try:
        check_addition(known, new, now_ns)
    except NotAddable as refused:
        raise Problem(409, "catalogue-in-force", str(refused)) from None


def _read(what: CatalogueSet) -> Catalogue:
    try:
        return read_catalogue(parse_json(what.body), "body", parse_instant)
    except BadSettings as bad:
        raise Problem(400, "bad-catalogue", str(bad), problems=[str(each) for each in bad.problems]) from None
    except ValueError as error:
        raise BadParameter("body", f"is no JSON object: {error}") from None


def _parse(body: str) -> Catalogue:
    try:
        return read_catalogue(parse_json(body), "ledger", parse_instant)
    except (BadSettings, ValueError) as error:
        # Checked when it was written, so whoever wrote it knew more than this release does.
        raise Problem(503, "catalogue", f"the ledger has a catalogue that cannot be read here: {error}") from None


def skus_at(snapshot: Snapshot, at_ns: int, as_of: int | None, otherwise: Sequence[SkuConfig]) -> Sequence[SkuConfig]:
    """What hardware is sold as at an instant: by the catalogue in force then, or else by ``otherwise``.

    SKUs that want a parameter are left out: which records they stand for, the hardware alone does not say.
    """
    catalogue = in_force(known_catalogues(snapshot, as_of), at_ns)
    if catalogue is None:
        return otherwise
    by_model = (sku for sku in catalogue.skus if all(each.wanted is None for each in sku.parameters))
    return [SkuConfig(sku.name, sku.gpu_model) for sku in by_model]
