"""How complete an answer is, in words a caller can act on."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..model.interval import Interval
from ..storage.usage_query import Completeness, HostCompleteness
from .instants import format_instant

MOST_NAMED = 100


def describe(end_ns: int, lack: Completeness) -> dict[str, Any]:
    """The completeness block: open without any host, final when every expected host is complete through the end."""
    complete = sum(_is_complete(host, end_ns) for host in lack.hosts)
    state = "open" if not lack.hosts else "final" if complete == len(lack.hosts) else "provisional"
    return {
        "state": state,
        "hosts_expected": len(lack.hosts),
        "hosts_complete": complete,
        "complete_through": _through(lack.hosts),
        **_of_the_site(lack),
    }


def _of_the_site(lack: Completeness) -> dict[str, Any]:
    """Sums over everybody's time. In an answer of one tenant they are not told, which is not zero."""
    if lack.of_tenant:
        return dict.fromkeys(("unobserved_ns", "unattributed_ns", "quarantined", "quarantined_ns"))
    return {
        "unobserved_ns": str(lack.unobserved_ns),
        "unattributed_ns": str(lack.unattributed_ns),
        "quarantined": lack.quarantined,
        "quarantined_ns": str(lack.quarantined_ns),
    }


def lacking(span: Interval, lack: Completeness) -> list[dict[str, Any]]:
    """What keeps an answer from being final: host, interval, and why if it will not come by itself.

    At most MOST_NAMED of them; in an answer of one tenant how many hosts there are, and from when on.
    """
    if not lack.hosts:
        return [_missing("", span.start_ns, span)]
    late = [host for host in lack.hosts if not _is_complete(host, span.end_ns)]
    if lack.of_tenant:
        return [_counted(late, span)] if late else []
    return [_missing(host.host_id, host.complete_through_ns, span) | _why(host) for host in late[:MOST_NAMED]]


def named(missing: Sequence[Mapping[str, Any]]) -> str:
    """For a sentence: whom an answer waits for."""
    if "hosts" in missing[0]:
        return f"hosts that are missing: {missing[0]['hosts']}"
    return ", ".join(sorted({each["host"] for each in missing})) or "every host"


def _counted(late: Sequence[HostCompleteness], span: Interval) -> dict[str, Any]:
    start_ns = max(span.start_ns, min(host.complete_through_ns or 0 for host in late))
    return {"hosts": len(late), "from": format_instant(start_ns), "to": format_instant(span.end_ns)}


def _missing(host_id: str, complete_through_ns: int | None, span: Interval) -> dict[str, str]:
    start_ns = max(span.start_ns, complete_through_ns or 0)
    return {"host": host_id, "from": format_instant(start_ns), "to": format_instant(span.end_ns)}


def _why(host: HostCompleteness) -> dict[str, str]:
    return {"why": host.why} if host.why else {}


def _is_complete(host: HostCompleteness, end_ns: int) -> bool:
    return host.complete_through_ns is not None and host.complete_through_ns >= end_ns


def _through(hosts: tuple[HostCompleteness, ...]) -> str | None:
    known = [host.complete_through_ns for host in hosts if host.complete_through_ns is not None]
    return format_instant(min(known)) if hosts and len(known) == len(hosts) else None
