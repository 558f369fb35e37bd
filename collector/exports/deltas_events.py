"""The NDJSON export: all changes behind a log id, or only what is final; never anything shifted in time."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ...storage.projection_completeness import completeness
from ...storage.projection_deltas import Delta, deltas
from ...storage.projection_reader import Snapshot
from ..instants import format_instant
from ..parameters import take_flag, take_instant, take_number
from ..problems import BadParameter, Problem
from ..rated_answer import read_rateable
from ..usage_answer import refuse_if_lacking
from .events import event_chunks, event_id

PARAMETERS: Final = ("range_from", "range_to", "since", "final", "oldest", "strict", "as_of")


def deltas_events(told: Mapping[str, str], snapshot: Snapshot, tenant: str | None) -> Iterator[bytes]:
    """Raises BadParameter, Problem (409) for what is not final yet or older than the receiver takes."""
    scope, final = read_rateable(told, snapshot, tenant).scope, take_flag(told, "final")
    since = take_number(told, "since", 0, 0, scope.as_of)
    if final and since:
        raise BadParameter("since", "does not go with final=true, which is everything that lasts, once")
    if final:
        refuse_if_lacking(scope.span, completeness(snapshot, scope))
    changes: Iterable[Delta] = deltas(snapshot, scope, since, lasting=final)
    if "oldest" in told:
        changes = _none_older(changes, take_instant(told, "oldest"))
    return event_chunks(changes)


def _none_older(changes: Iterable[Delta], oldest_ns: int) -> Iterator[Delta]:
    """A receiver that stops taking old events would drop it, or count it in another period."""
    for delta in changes:
        if delta.window_start_ns < oldest_ns:
            raise Problem(
                409,
                "older-than-oldest",
                f"the event {event_id(delta)} is of {format_instant(delta.window_start_ns)}, older than oldest: "
                "export that time by FOCUS or CSV, or where old events are taken",
            )
        yield delta
