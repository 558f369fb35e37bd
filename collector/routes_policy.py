"""GET /v1/policy: the rules by which numbers here are made, for machines to read and contracts to quote."""

from typing import Any, Final

from ..storage.projection_completeness import all_window_lengths
from ..storage.projection_reader import Snapshot
from .grid import MINUTE_NS
from .routing import Json, Routes, Told
from .tokens import Caller

VERSION: Final = 1
"""Of what the rules mean: it changes when one of them does."""
_WINDOWS_S: Final = (10, 12, 15, 20, 30, 60, 180, 300)

RULES: Final[dict[str, Any]] = {
    "unit": {"ledger": "ns", "shown": "GPU-Hours", "ns_per_hour": str(3600 * 10**9)},
    "rounding": {
        "mode": "half_up",
        "default_scale": 2,
        "stage": "total",
        "rule": "Nanoseconds are exact. Hours are rounded once, half up, in each number that is shown.",
    },
    "fractions": {
        "mode": "floor",
        "stage": "total",
        "rule": "Parts of a nanosecond (MIG slices, parts of a record) are summed as fractions and floored once, "
        "in each sum that is shown.",
    },
    "ranges": {
        "half_open": True,
        "offset_required": True,
        "edges_between_ns": str(MINUTE_NS),
        "windows_s": list(_WINDOWS_S),
        "rule": "A record belongs, whole, to the window that names it. An edge that would cut a window is refused. "
        "Edges are multiples of a minute, or of the longest window in the range if that is longer; of less only "
        "if all windows in the ledger are shorter than a minute.",
    },
    "closing": {
        "states": ["open", "provisional", "final"],
        "rule": "A range is final when every expected host has said that its time is complete through the end, or "
        "an operator has declared that the rest will not come. A host is expected from its first window, or from "
        "its enrolment, until it is retired.",
    },
    "lateness": {
        "limit_ns": None,
        "rule": "What comes late counts in the window that names it, whenever it comes.",
    },
    "corrections": {
        "rule": "Records are never changed. The highest revision of a record counts; a correction by an operator "
        "lies over every revision until it is lifted."
    },
    "exclusions": {
        "rule": "Net is gross less excluded. Of a record that an exclusion covers in part, the same part is "
        "excluded. Overlapping exclusions exclude once; the one decided first takes the time."
    },
    "reservations": {
        "rule": "Compared at each instant with the GPUs in use, a record's amount being spread evenly over its "
        "segment. Used is within plus overage; reserved is within plus unused."
    },
    "leases": {
        "rule": "A lease's time is its GPUs times its length. lease_only is what of it no usage record of its "
        "tenant says: usage plus lease_only counts nothing twice."
    },
    "quotas": {"cycle": "calendar month", "zone": "UTC", "enforced": False},
    "conservation": {"rule": "allocated + voided + idle + unobserved = existed, for each device and segment, exactly."},
}


def add_policy(routes: Routes) -> None:
    routes.get("/v1/policy", (), _policy, required=())


def _policy(seen: Snapshot, _told: Told, _who: Caller, _path: str) -> Json:
    lengths = [str(length_ns) for length_ns in all_window_lengths(seen)]
    return {"as_of": str(seen.position), "version": VERSION, **RULES, "windows_in_ledger_ns": lengths}
