"""The edges of a period as it is written on a command line: a month of a zone, or two instants."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from ..collector.instants import format_instant, instant_of, parse_instant
from ..model.interval import Interval

_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


def month(text: str, zone: tzinfo = UTC) -> Interval:
    """From the first of a month such as 2026-10 to that of the next. Raises ValueError."""
    found = _MONTH.fullmatch(text)
    if found is None or not 1970 <= (year := int(found[1])) < 2115:
        raise ValueError(f"{text} must be a month such as 2026-10")
    number = int(found[2])
    first = datetime(year, number, 1, tzinfo=zone)
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
    return Interval(instant_of(first), instant_of(after))


def take_period(period: str | None, start: str | None, end: str | None, zone: str = "UTC") -> Interval:
    """``--period`` in ``--zone``, or ``--from`` and ``--to``. Raises click.UsageError or click.BadParameter."""
    if (period is None) == (start is None and end is None):
        raise click.UsageError("give --period MONTH, or --from and --to")
    try:
        if period is not None:
            return month(period, ZoneInfo(zone))
        return Interval(parse_instant(start or ""), parse_instant(end or ""))
    except (ZoneInfoNotFoundError, OSError):
        raise click.BadParameter(
            f"{zone} must be an IANA time zone such as Europe/Berlin", param_hint="--zone"
        ) from None
    except ValueError as error:
        hint = "--period" if period is not None else "--from, --to"
        raise click.BadParameter(str(error), param_hint=hint) from None


def edges(span: Interval) -> dict[str, str]:
    """As the API takes them."""
    return {"from": format_instant(span.start_ns), "to": format_instant(span.end_ns)}
