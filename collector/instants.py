"""Instants as callers write them (RFC 3339) and as we count them: integer ns since 1970, UTC."""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from ..model.interval import NS_PER_S

_SHAPE: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_S_PER_DAY: Final = 86_400


def parse_instant(text: str) -> int:
    """ns since 1970, UTC. Raises ValueError, whose text says what is wrong and what to write."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        hint = '; in a URL "+" is written %2B' if re.search(r" [0-9]{2}:[0-9]{2}$", text) else ""
        raise ValueError(f'is "{text}", must be an RFC 3339 time such as 2025-06-01T00:00:00Z{hint}')
    if found["offset"] is None:
        raise ValueError(f'is "{text}", which names no offset: write {text}Z for UTC, or another such as %2B02:00')
    try:
        told = datetime.fromisoformat(f"{found['date']}T{found['time']}{found['offset'].upper()}")
        whole_s = _whole_seconds(told.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise ValueError(f'is "{text}", which is no time: {error}') from None
    return whole_s * NS_PER_S + int((found["fraction"] or "").ljust(9, "0"))


def format_instant(instant_ns: int, zone: tzinfo = UTC) -> str:
    """RFC 3339 with the zone's offset then (Z for UTC); fractions only where there are any."""
    seconds, fraction_ns = divmod(instant_ns, NS_PER_S)
    told = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(zone)
    fraction = f".{fraction_ns:09d}".rstrip("0") if fraction_ns else ""
    offset = "Z" if zone is UTC else _offset(told)
    return told.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + fraction + offset


def instant_of(told: datetime) -> int:
    """ns since 1970, UTC, of a time with a zone."""
    return _whole_seconds(told.astimezone(UTC)) * NS_PER_S


def _whole_seconds(told: datetime) -> int:
    days = told.toordinal() - _EPOCH
    return days * _S_PER_DAY + told.hour * 3600 + told.minute * 60 + told.second


def _offset(told: datetime) -> str:
    offset = told.utcoffset() or timedelta()
    minutes = offset // timedelta(minutes=1)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
