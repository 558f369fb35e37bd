"""GET /v1/slo: the service level indicators M1 to M6, as far as the ledger knows them.

``met`` is null where the ledger cannot tell. Ratios are both their whole parts and a decimal, floored: nothing is
rounded up to a target.
"""

from typing import Final

from ..storage.projection_completeness import completeness
from ..storage.projection_indicators import Finality, Lags, Mishaps, arrival_lags, finality, mishaps
from ..storage.projection_reader import Snapshot
from ..storage.projection_usage import sum_usage
from ..storage.usage_query import Completeness, Dimension, Scope, UsageQuery
from .asked_range import header, take_scope
from .completeness import describe
from .conservation_answer import ConservationRequest, answer_conservation
from .routing import RANGE, Json, Routes, Told
from .tokens import Caller

_M1_NS: Final = 5 * 10**9
_M4: Final = (999, 1000)
_M5_MILLIWINDOWS: Final = 2_000


def add_slo(routes: Routes) -> None:
    routes.get("/v1/slo", RANGE, _slo, tenants=False)


def _slo(seen: Snapshot, told: Told, who: Caller, _path: str) -> Json:
    return answer_slo(take_scope(told, seen, who), seen)


def answer_slo(scope: Scope, seen: Snapshot) -> Json:
    """``scope`` is of everybody and as of the snapshot's position."""
    lack = completeness(seen, scope)
    law = answer_conservation(ConservationRequest(scope.span, None, 0, 1), seen)["summary"]
    ever = mishaps(seen)
    return {
        **header(scope),
        "completeness": describe(scope.span.end_ns, lack),
        "M1": _m1(*arrival_lags(seen, scope)),
        "M2": _m2(law, lack, ever),
        "M3": {"overlaps": law["overlaps"], "duplicates_counted_once": ever.duplicates, "met": law["overlaps"] == 0},
        "M4": _m4(seen, scope, lack),
        "M5": _m5(finality(seen, scope, [host.host_id for host in lack.hosts])),
        "M6": {"conservation_exact": law["exact"], "independent_source": None, "met": None if law["exact"] else False},
    }


def _m1(live: Lags, replayed: Lags) -> Json:
    met = None if live.p95_ns is None else live.p95_ns < _M1_NS
    return {"target_p95_ns": str(_M1_NS), "live": _lags(live), "replayed": _lags(replayed), "met": met}


def _lags(lags: Lags) -> Json:
    return {
        "count": lags.count,
        "p50_ns": _text(lags.p50_ns),
        "p95_ns": _text(lags.p95_ns),
        "max_ns": _text(lags.most_ns),
    }


def _m2(law: Json, lack: Completeness, ever: Mishaps) -> Json:
    """A hole is time of a device that no row accounts for; how many records it had, nobody can know."""
    return {
        "holes": law["holes"],
        "quarantined": lack.quarantined,
        "rejected_frames_ever": ever.rejected_frames,
        "lost_frames_ever": ever.lost_frames,
        "met": not (law["holes"] or lack.quarantined or ever.rejected_frames or ever.lost_frames),
    }


def _m4(seen: Snapshot, scope: Scope, lack: Completeness) -> Json:
    allocated_ns = sum_usage(seen, UsageQuery(scope, (Dimension.ORG,)), lambda _: "").total_ns
    attributed_ns = allocated_ns - lack.unattributed_ns
    return {
        "attributed_ns": str(attributed_ns),
        "allocated_ns": str(allocated_ns),
        "ratio": ratio(attributed_ns, allocated_ns),
        "met": attributed_ns * _M4[1] > allocated_ns * _M4[0] if allocated_ns else None,
    }


def _m5(told: Finality | None) -> Json:
    if told is None:
        return {"windows": None, "met": None, "why": "the range has too many windows for its hosts: ask for a day"}
    p95 = told.p95_milliwindows
    return {
        "windows": told.windows,
        "final": told.final,
        "p50_ns": _text(told.p50_ns),
        "p95_ns": _text(told.p95_ns),
        "p95_windows": None if p95 is None else ratio(p95, 1_000),
        "met": None if p95 is None or told.final < told.windows else p95 < _M5_MILLIWINDOWS,
    }


def ratio(numerator: int, denominator: int) -> str | None:
    """With six places, floored; None: of nothing."""
    if not denominator:
        return None
    whole, rest = divmod(numerator * 10**6 // denominator, 10**6)
    return f"{whole}.{rest:06d}"


def _text(ns: int | None) -> str | None:
    return None if ns is None else str(ns)
