"""Windows: half-open stretches of UTC, all of one length, that name when time was used."""

from .interval import NS_PER_S

WINDOW_LENGTHS_S = (10, 12, 15, 20, 30, 60, 180, 300)
"""Each divides the hour, so that every window lies in one hour, day, month and quarter hour or less."""


def window_start_ns(wall_ns: int, length_ns: int) -> int:
    """The start of the window that holds ``wall_ns`` (ns since 1970, UTC)."""
    return wall_ns - wall_ns % length_ns


def seconds_ns(seconds: int) -> int:
    return seconds * NS_PER_S
