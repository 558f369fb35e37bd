"""Whether a decision can be taken as things stand. What is sealed does not change."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from ..model.decision_reach import changed_time
from ..model.decisions import (
    LATE_PREFIX,
    Adjusted,
    CatalogueSet,
    Decision,
    ExclusionSet,
    LeaseSet,
    PeriodSealed,
    ReservationSet,
    RulesSet,
)
from ..model.interval import Interval
from ..model.workload import UNATTRIBUTED
from ..storage.projection_decision_rows import replaced_by
from ..storage.projection_decisions import decided_in_force, last_decided_ns
from ..storage.projection_reader import Snapshot
from .catalogues import check_catalogue, known_catalogues
from .instants import format_instant
from .problems import BadParameter, Problem
from .rule_checks import check_rules

_LARGEST_NS: Final = 2**62
_NAMES: Final = ("id", "tenant", "host_id", "gpu_model", "version", "approver", "old_device_id", "meter")
"""Fields that name something where their kind has them without a default, and so may not be empty."""


def check_decision(seen: Snapshot, what: Decision) -> None:
    """Raises Problem: 400 for what can never be, 409 for what cannot be any more."""
    _check_names(what)
    _check_own_names(what)
    _check_interval(what)
    if isinstance(what, CatalogueSet):
        _check_catalogue(seen, what)
    if isinstance(what, RulesSet):
        check_rules(seen, what)
    if isinstance(what, LeaseSet | ReservationSet) and what.gpus < 1:
        raise BadParameter("gpus", "must be 1 or more")
    if isinstance(what, LeaseSet) and what.device_ids and len(set(what.device_ids)) != what.gpus:
        raise BadParameter("device_ids", f"names {len(set(what.device_ids))} devices, gpus is {what.gpus}")
    _check_unsealed(seen, changed_time(replaced_by(seen.db, what), what))


def sealed_periods(seen: Snapshot) -> list[Interval]:
    """In order of time."""
    stored = decided_in_force(seen, PeriodSealed)
    return sorted((Interval(each.what.from_ns, each.what.to_ns) for each in stored), key=lambda span: span.start_ns)


def _check_names(what: Decision) -> None:
    optional = {field.name for field in fields(what) if field.default == ""}
    for name in _NAMES:
        value = getattr(what, name, None)
        if value is not None and (value or name not in optional) and (not value.strip() or not value.isprintable()):
            raise BadParameter(name, "must be a name, not empty and printable")
    if getattr(what, "tenant", None) == UNATTRIBUTED and not isinstance(what, ExclusionSet):
        raise BadParameter("tenant", f'"{UNATTRIBUTED}" is reserved for time that belongs to nobody we can name')


def _check_own_names(what: Decision) -> None:
    if isinstance(what, Adjusted) and what.id.startswith(LATE_PREFIX):
        raise BadParameter("id", f'begins with "{LATE_PREFIX}", as only what came late for a sealed period does')


def _check_interval(what: Any) -> None:
    for name in ("from_ns", "to_ns", "at_ns", "effective_from_ns", "effective_to_ns"):
        value = getattr(what, name, None)
        if value is not None and not 0 <= value < _LARGEST_NS:
            raise BadParameter(name.removesuffix("_ns"), "must be from 1970 to 2115")
    for start, end in (("from_ns", "to_ns"), ("effective_from_ns", "effective_to_ns")):
        first, last = getattr(what, start, None), getattr(what, end, None)
        if first is not None and last is not None and first >= last:
            raise BadParameter(end.removesuffix("_ns"), f"must be later than {start.removesuffix('_ns')}")


def _check_catalogue(seen: Snapshot, what: CatalogueSet) -> None:
    check_catalogue(what, known_catalogues(seen), stored_now_ns(seen, last_decided_ns(seen)))


def stored_now_ns(seen: Snapshot, at_least_ns: int) -> int:
    """The latest instant that the ledger knows to have come: decisions do not read a clock of their own."""
    found = seen.db.execute("SELECT coalesce(max(last_received_ns), 0) FROM host").fetchall()
    return max(int(found[0][0]), at_least_ns)


def _check_unsealed(seen: Snapshot, touched: Iterable[Interval]) -> None:
    sealed = sealed_periods(seen)
    for span in touched:
        for period in sealed:
            if span.start_ns < period.end_ns and span.end_ns > period.start_ns:
                start, end = format_instant(period.start_ns), format_instant(period.end_ns)
                raise Problem(
                    409,
                    "sealed",
                    f"the period {start} to {end} is sealed and does not change: "
                    "POST /v1/adjustments books an amount in an open one",
                )
