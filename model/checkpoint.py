"""A meter as plain data and back: what a killed daemon needs to go on where it stood."""

from typing import Any

from .meter import Meter
from .plain import from_plain, to_plain
from .refused import Refused
from .untold import Untold

VERSION = 4
"""Grows with every change to a dataclass that is kept here."""


class BadCheckpoint(ValueError):
    """Data that are no checkpoint of this version."""


def save(meter: Meter, refused: Refused, untold: Untold | None = None) -> dict[str, Any]:
    """Everything that is open, what a full log has refused, and what is not known yet of a checkpoint that was lost."""
    told = {"version": VERSION, "meter": to_plain(meter), **save_refused(refused)}
    return told if untold is None else {**told, "untold": to_plain(untold)}


def save_refused(refused: Refused) -> dict[str, Any]:
    """The part of ``save`` that speaks of what was given up."""
    return {"refused": to_plain(refused)}


def load_untold(data: Any) -> Untold | None:
    """What ``save`` was given of it. Raises BadCheckpoint."""
    try:
        plain = data.get("untold")
        untold: Untold | None = None if plain is None else from_plain(Untold, plain)
    except (AttributeError, ValueError, TypeError, LookupError) as error:
        raise BadCheckpoint(f"the checkpoint does not hold what it should: {error}") from None
    return untold


def load(data: Any) -> tuple[Meter, Refused]:
    """The meter as it stood; what passed since then may only be inferred.

    Raises BadCheckpoint for anything but what ``save`` made.
    """
    if not isinstance(data, dict) or data.get("version") != VERSION:  # pyright: ignore[reportUnknownMemberType]
        raise BadCheckpoint(f"the checkpoint is not of version {VERSION}: another gputally wrote it")
    try:
        meter: Meter = from_plain(Meter, data["meter"])
        refused: Refused = from_plain(Refused, data["refused"])
    except (ValueError, TypeError, LookupError) as error:
        raise BadCheckpoint(f"the checkpoint does not hold what it should: {error}") from None
    for device in meter.devices.values():
        assert meter.wall is not None
        device.book.wall, device.resumed = meter.wall, device.sight is not None
    return meter, refused
