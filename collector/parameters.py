"""Parameters of a request: each known, given once, and of the right shape, or a problem that names it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..model.interval import Interval
from ..storage.usage_store import RecordPlace
from .instants import parse_instant
from .problems import BadParameter

E = TypeVar("E", bound=StrEnum)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)


def take_all(given: Iterable[tuple[str, str]], known: Sequence[str]) -> dict[str, str]:
    """The parameters by name. Raises BadParameter for one that is unknown or said twice."""
    taken: dict[str, str] = {}
    for name, value in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise BadParameter(name, f"is unknown here; {meant}", "unknown-parameter")
        if name in taken:
            raise BadParameter(name, "is given more than once: give it once")
        taken[name] = value
    return taken


def take_span(told: Mapping[str, str]) -> Interval:
    """``range_from`` and ``range_to``, half-open."""
    start_ns, end_ns = take_instant(told, "range_from"), take_instant(told, "range_to")
    if start_ns >= end_ns:
        raise BadParameter("range_to", "must be later than range_from: the range is [range_from, range_to)")
    return Interval(start_ns, end_ns)


def take_instant(told: Mapping[str, str], name: str) -> int:
    if name not in told:
        raise BadParameter(name, "is missing: give an RFC 3339 time such as 2025-06-01T00:00:00Z")
    try:
        instant_ns = parse_instant(told[name])
    except ValueError as error:
        raise BadParameter(name, str(error)) from None
    if not 0 <= instant_ns < 2**62:
        raise BadParameter(name, f'is "{told[name]}", must be from 1970 to 2115')
    return instant_ns


def take_number(told: Mapping[str, str], name: str, default: int, at_least: int, at_most: int) -> int:
    text = told.get(name)
    if text is None:
        return default
    if not _DIGITS.fullmatch(text) or not at_least <= int(text) <= at_most:
        raise BadParameter(name, f'is "{text}", must be a whole number from {at_least} to {at_most}')
    return int(text)


def take_flag(told: Mapping[str, str], name: str) -> bool:
    text = told.get(name, "false")
    if text not in ("true", "false"):
        raise BadParameter(name, f'is "{text}", must be true or false')
    return text == "true"


def take_choice(told: Mapping[str, str], name: str, default: E) -> E:
    return choose(type(default), name, told[name]) if name in told else default


def choose(kind: type[E], name: str, text: str) -> E:
    try:
        return kind(text)
    except ValueError:
        raise BadParameter(name, f'is "{text}", must be one of {", ".join(kind)}') from None


def take_zone(told: Mapping[str, str], name: str) -> ZoneInfo | None:
    """An IANA time zone, or None if the parameter is not given."""
    text = told.get(name)
    if text is None:
        return None
    try:
        if not _ZONE.fullmatch(text):
            raise ZoneInfoNotFoundError
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadParameter(name, f'is "{text}", must be an IANA time zone such as Europe/Berlin') from None


def take_place(told: Mapping[str, str]) -> RecordPlace:
    """``after``: behind which record to begin; without it at the beginning."""
    return parse_place("after", told.get("after", "0.0.0"))


def parse_place(name: str, text: str) -> RecordPlace:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) < 18 for part in parts):
        raise BadParameter(name, f'is "{text}", must be what "next", or "place" of a record, says')
    log_id, segment, ordinal = map(int, parts)
    return log_id, segment, ordinal
