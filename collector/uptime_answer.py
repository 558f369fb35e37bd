"""How long hosts were up, and their gaps: what GET /v1/hosts says of each beside its streams."""

from collections.abc import Mapping
from typing import Any

from ..model.interval import Interval
from ..storage.projection_presence import Uptime, uptimes
from ..storage.projection_reader import Snapshot
from .instants import format_instant
from .parameters import take_span

Json = dict[str, Any]


def take_optional_span(told: Mapping[str, str]) -> Interval | None:
    """None: neither end is given. Raises BadParameter if only one is."""
    return take_span(told) if "range_from" in told or "range_to" in told else None


def add_uptime(answer: Json, seen: Snapshot, span: Interval | None) -> Json:
    """To each host of the page."""
    found = uptimes(seen, [item["host"] for item in answer["items"]], span)
    for item in answer["items"]:
        item |= _described(found[item["host"]])
    return answer


def _described(uptime: Uptime) -> Json:
    """``null``: the host never told of its uptime, which is not zero."""
    told = uptime.since_ns is not None
    return {
        "boot_id": uptime.boot_id or None,
        "up_since": format_instant(uptime.since_ns) if uptime.since_ns is not None else None,
        "uptime_ns": str(uptime.up_ns) if told else None,
        "boots": uptime.boots,
        "gap_count": uptime.gap_count,
        "gaps_ns": str(uptime.gaps_ns),
        "gaps": [_gap(*gap) for gap in uptime.gaps],
    }


def _gap(start_ns: int, length_ns: int, reason: str, devices: int) -> Json:
    start, end = format_instant(start_ns), format_instant(start_ns + length_ns)
    return {"from": start, "to": end, "reason": reason, "devices": devices}
