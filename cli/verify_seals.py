"""The seals of a ledger, as ``gputally verify`` tells of them."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click

from ..collector.audit import Pins
from ..collector.audit_seals import FoundSeal, SealReport, audit_seals, read_seals, unchecked
from ..collector.instants import format_instant
from ..model.decisions import OWN_HOST_ID
from ..model.interval import Interval
from ..model.key_ring import Check
from .month import month

ALL, NONE = "all", "none"
_NOT_RECOMPUTED: Final = "was not recomputed: the log is not as it was written"


def read_period(text: str) -> Interval | None:
    """A month of UTC; None: all, or none. Raises click.BadParameter."""
    if text in (ALL, NONE):
        return None
    try:
        return month(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, or all, or none", param_hint="--period") from None


def look_at_seals(
    folder: Path, span: Interval | None, pins: Pins, check: Check | None, broken: bool
) -> list[SealReport]:
    """Of those that touch ``span``. Raises LedgerError."""
    # What folding has to say of single frames is in the quarantine; here it would only stand in between.
    logging.getLogger("gputally").addHandler(logging.NullHandler())
    seals = [each for each in read_seals(folder) if span is None or _touch(each, span)]
    pinned = pins.get(OWN_HOST_ID, frozenset[bytes]())
    if broken:
        return [unchecked(each, pinned, check, _NOT_RECOMPUTED) for each in seals]
    reports = list(audit_seals(folder, seals, pinned, check))
    return [_judged(report, bool(pinned)) for report in reports]


def _judged(report: SealReport, pinned: bool) -> SealReport:
    """Where a key is pinned, a seal without its signature is nobody's word."""
    if pinned and report.effective and not report.wrong and report.signature not in ("right", "not checked"):
        return replace(report, wrong=f"is not signed by a key that is pinned ({report.signature})")
    return report


def _touch(found: FoundSeal, span: Interval) -> bool:
    return found.span.start_ns < span.end_ns and found.span.end_ns > span.start_ns


def are_whole(seals: Sequence[SealReport]) -> bool:
    return not any(seal.wrong for seal in seals)


def describe_seals(seals: Sequence[SealReport] | None) -> dict[str, Any]:
    return {"seals": None if seals is None else [asdict(seal) for seal in seals]}


def seal_lines(seals: Sequence[SealReport]) -> list[str]:
    return [line for seal in seals for line in _lines(seal)]


def _lines(seal: SealReport) -> list[str]:
    span = f"{format_instant(seal.from_ns)} to {format_instant(seal.to_ns)}"
    key = f", key {seal.key_id.hex()}" if seal.key_id else ""
    told = [
        f"period  {span}",
        f"  sealed     at log entry {seal.log_id} as of {seal.as_of}, signature: {seal.signature}{key}",
    ]
    if not seal.effective:
        return [*told, "  NO EFFECT  something of the period came before the seal was in the log"]
    return [
        *told,
        f"  BROKEN     {seal.wrong}" if seal.wrong else f"  root       {seal.root.hex()} over {seal.leaves} leaves",
    ]
