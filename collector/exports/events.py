"""Usage as CloudEvents 1.0, one JSON object a line: signed deltas for receivers that only add.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md: ``source`` and ``id`` together name an event
for ever. Ours are made of the record's key, its revision and the correction it rests on: the same export twice, or
after the ledger came back from a backup, names the same events the same way, so a receiver can drop what it has.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

from ...storage.projection_deltas import Delta
from ..instants import format_instant

TYPE: Final = "gputally.usage.delta.v1"
_EVENTS: Final = 1_000
"""In a chunk."""


def event_chunks(deltas: Iterable[Delta]) -> Iterator[bytes]:
    left = iter(deltas)
    while part := list(islice(left, _EVENTS)):
        yield b"".join(map(_line, part))


def event_id(delta: Delta) -> str:
    origin = "host" if delta.decided_ns is None else f"operator-{delta.decided_ns}"
    return f"{delta.usage_key.hex()}.{delta.revision}.{origin}.{'add' if delta.sign > 0 else 'retract'}"


def event(delta: Delta) -> dict[str, Any]:
    """Amounts are ns as texts, negative where something is taken back; of MIG instances as they are, with slices."""
    end_ns = delta.window_start_ns + delta.window_length_ns
    return {
        "specversion": "1.0",
        "id": event_id(delta),
        "source": f"urn:gputally:host:{quote(delta.host_id, safe='')}",
        "type": TYPE,
        "subject": delta.tenant,
        "time": format_instant(delta.window_start_ns),
        "datacontenttype": "application/json",
        "data": {
            "org": delta.tenant,
            "project": delta.project,
            "host": delta.host_id,
            "device": delta.device_id,
            "gpu_model": delta.gpu_model,
            "workload": delta.workload,
            "session": delta.session_id,
            "window_start": format_instant(delta.window_start_ns),
            "window_end": format_instant(end_ns),
            "usage_key": delta.usage_key.hex(),
            "revision": delta.revision,
            "allocated_ns": str(delta.sign * delta.allocated_ns),
            "held_ns": str(delta.sign * delta.held_ns),
            "busy_ns": str(delta.sign * delta.busy_ns),
            "slices": None if delta.slices is None else delta.slices._asdict(),
        },
    }


def _line(delta: Delta) -> bytes:
    return json.dumps(event(delta), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
