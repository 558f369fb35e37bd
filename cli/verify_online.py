"""``gputally verify --collector``: whether a collector's answers are what it has sealed.

What it tells of a period must fit together: the leaves have the root, the root is signed, and each record that
/v1/records shows is a leaf. Whether the leaves are what hosts wrote, only the log can tell: `gputally verify FOLDER`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from ..collector.explain_check import read_seal
from ..collector.instants import format_instant
from ..collector.sealing import is_signed_by
from ..model.decisions import OWN_HOST_ID, PeriodSealed
from ..model.exits import Exit
from ..model.interval import Interval
from ..model.merkle import NotSorted, Tree
from ..model.sealing import record_leaf
from ..storage.sorted_spool import sorted_bytes
from .asking import Collector, NoAnswer, read_token
from .trusted_keys import NO_CHECK, BadTrustedKeys, load_check, read_trusted_keys

_PAGE: Final = "1000"
_PERIODS: Final = ("items", "total_count")
_CORRECTED: Final = "correction"


class NotAsSealed(Exception):
    """The message says what differs."""


def verify_online(url: str, token_file: Path | None, name: str, span: Interval | None, trusted: Path | None) -> int:
    """Every sealed period that touches ``span`` (None: all). Returns the exit code."""
    try:
        pins = frozenset[bytes]() if trusted is None else read_trusted_keys(trusted).get(OWN_HOST_ID, frozenset())
        collector = Collector(url, read_token(token_file))
        seals = [each for each in _sealed(collector) if span is None or _touches(each, span)]
    except NoAnswer as error:
        return _said(str(error), error.code)
    except BadTrustedKeys as error:
        return _said(str(error), Exit.NO_INPUT)
    if not seals:
        return _said(f"{url} has no sealed period in {name}", Exit.NO_INPUT)
    return max([_told(collector, seal, pins) for seal in seals])


def _said(message: str, code: int) -> int:
    click.echo(message, err=True)
    return code


def _told(collector: Collector, seal: PeriodSealed, pins: frozenset[bytes]) -> int:
    span = f"{format_instant(seal.from_ns)} to {format_instant(seal.to_ns)}"
    try:
        records, corrected = _check(collector, seal, pins)
    except NoAnswer as error:
        return _said(str(error), error.code)
    except NotAsSealed as error:
        click.echo(f"period  {span}\n  BROKEN     {error}")
        return Exit.BROKEN
    click.echo(
        f"period  {span}\n  root       {seal.root.hex()} over {seal.leaves} leaves\n"
        f"  signature  {_signature(seal, pins)}\n  records    {records} under it, {corrected} corrected since sent"
    )
    return Exit.OK


def _signature(seal: PeriodSealed, pins: frozenset[bytes]) -> str:
    if not seal.signature:
        return "none"
    return "right" if pins else f"by key {seal.key_id.hex()}, not checked: --trusted-keys names none for {OWN_HOST_ID}"


def _check(collector: Collector, seal: PeriodSealed, pins: frozenset[bytes]) -> tuple[int, int]:
    """(records in force, those among them whose owner was corrected). Raises NotAsSealed, NoAnswer."""
    edges = {"from": format_instant(seal.from_ns), "to": format_instant(seal.to_ns)}
    told = collector.get("/v1/periods/proof", edges, ("ledger", "seal"))
    _same(read_seal(told["seal"]) == seal, "the proof tells of another seal than the list of periods")
    if pins:
        _check_signature(bytes.fromhex(told["ledger"]), seal, pins)
    counts = {"records": 0, "corrected": 0}
    asked = sorted_bytes(_asked(collector, edges, counts))
    left = next(asked, None)
    tree = Tree()
    try:
        for leaf in _leaves(collector, edges):
            tree.add(leaf)
            while left is not None and left == leaf:
                left = next(asked, None)
    except NotSorted as error:
        raise NotAsSealed(str(error)) from None
    root = tree.finish()
    _same((root.hash, root.leaves) == (seal.root, seal.leaves), f"the leaves have the root {root.hash.hex()}")
    _same(left is None, "/v1/records shows a record that is not under the seal")
    return counts["records"], counts["corrected"]


def _check_signature(ledger: bytes, seal: PeriodSealed, pins: frozenset[bytes]) -> None:
    check = load_check()
    if check is None:
        raise NoAnswer(Exit.UNAVAILABLE, NO_CHECK)
    _same(any(is_signed_by(ledger, seal, key, check) for key in pins), "it is not signed by a key that is pinned")


def _asked(collector: Collector, edges: dict[str, str], counts: dict[str, int]) -> Iterator[bytes]:
    """The leaf of each record that is as it was sent. One whose owner was corrected has another digest."""
    told: dict[str, str] = {"range_from": edges["from"], "range_to": edges["to"], "limit": _PAGE}
    while True:
        page = collector.get("/v1/records", told, ("items", "next"))
        for item in page["items"]:
            counts["records"] += 1
            if item["rule"] == _CORRECTED:
                counts["corrected"] += 1
            else:
                yield record_leaf(bytes.fromhex(item["usage_key"]), item["revision"], bytes.fromhex(item["digest"]))
        if page["next"] is None:
            return
        told["after"] = page["next"]


def _leaves(collector: Collector, edges: dict[str, str]) -> Iterator[bytes]:
    rest = b""
    for chunk in collector.read("/v1/periods/leaves", edges):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield _unhex(line)
    if rest:
        yield _unhex(rest)


def _unhex(line: bytes) -> bytes:
    try:
        return bytes.fromhex(line.decode())
    except ValueError:
        raise NotAsSealed("a leaf is no hexadecimal text") from None


def _sealed(collector: Collector) -> Iterator[PeriodSealed]:
    offset = 0
    while True:
        page = collector.get("/v1/periods", {"offset": str(offset), "limit": _PAGE}, _PERIODS)
        yield from (read_seal(item["sealed"]) for item in page["items"] if item["sealed"])
        offset += len(page["items"])
        if not page["items"] or offset >= page["total_count"]:
            return


def _touches(seal: PeriodSealed, span: Interval) -> bool:
    return seal.from_ns < span.end_ns and seal.to_ns > span.start_ns


def _same(fits: bool, otherwise: str) -> None:
    if not fits:
        raise NotAsSealed(otherwise)
