"""Where a stream is, and which events each place knows.

The tables are those of docs/protocol.md, which a test compares with them. An event that is neither heeded nor
ignored in a phase is a ``Violation`` by the collector, after which the stream is given up and said again from the
last place that both sides agree on.

    APART --Opened--> GREETING --Welcomed--> STREAMING --Left--> LEAVING
                          |    --Welcomed--> REWINDING --TakenBack--> STREAMING
                          +----Welcomed----> FORKED, for good
    any but FORKED --Lost--> APART
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from .replay_events import (
    Acked,
    Event,
    Left,
    Lost,
    Opened,
    Rejected,
    Resumed,
    Ruled,
    Said,
    TakenBack,
    Welcomed,
    Written,
)


class Phase(Enum):
    """Where a stream is."""

    APART = "apart"
    GREETING = "greeting"
    REWINDING = "rewinding"
    STREAMING = "streaming"
    LEAVING = "leaving"
    FORKED = "forked"


class Violation(Exception):
    """The collector said what makes no sense here. The stream is given up; nothing is lost."""


_ALWAYS: Final = frozenset({Written, Lost})
_ANSWERS: Final = frozenset({Acked, Rejected, Ruled})
HEEDED: Final[Mapping[Phase, frozenset[type[Event]]]] = {
    Phase.APART: _ALWAYS | {Opened},
    Phase.GREETING: _ALWAYS | {Welcomed, Left},
    Phase.REWINDING: _ALWAYS | _ANSWERS | {TakenBack, Left},
    Phase.STREAMING: _ALWAYS | _ANSWERS | {Said, Resumed, Left},
    Phase.LEAVING: _ALWAYS | _ANSWERS,
    Phase.FORKED: frozenset(),
}
IGNORED: Final[Mapping[Phase, frozenset[type[Event]]]] = {
    # Answers to what was said before the goodbye still count; a greeting comes too late.
    Phase.LEAVING: frozenset({Resumed, Left, Welcomed, TakenBack}),
    # A fork ends only with a person.
    Phase.FORKED: frozenset({Written, Lost, Left, Acked, Resumed, Rejected, Ruled}),
}


def heeds(phase: Phase, event: Event) -> bool:
    """Whether it changes anything there. Raises Violation for an event that the phase does not know."""
    if type(event) in HEEDED[phase]:
        return True
    if type(event) in IGNORED.get(phase, ()):
        return False
    raise Violation(f"{type(event).__name__} while {phase.value}")
