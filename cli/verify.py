"""``gputally verify``: whether a ledger, or a copy of one, holds what its hosts wrote."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from ..collector.audit import Pins, audit, count_missing_rows
from ..collector.audit_report import CutEpoch, StreamReport
from ..collector.audit_since import BadResult, Change, Stood, changes, read_result
from ..model.decisions import OWN_HOST_ID
from ..model.exits import Exit
from ..model.key_ring import Check
from ..storage.ledger_folder import LedgerBroken, LedgerError
from .trusted_keys import NO_CHECK, BadTrustedKeys, load_check, read_trusted_keys
from .verify_online import verify_online
from .verify_seals import NONE, are_whole, describe_seals, look_at_seals, read_period, seal_lines

_MOST_ABSENCES: Final = 10
_PATH = click.Path(path_type=Path)


@click.command
@click.argument("folder", type=_PATH, required=False)
@click.option("--host", "host_id", help="Only the streams of this host.")
@click.option("--trusted-keys", type=_PATH, help="A file with lines `HOST PUBLIC-KEY`: who may sign for whom.")
@click.option("--since", type=_PATH, help="What --json told earlier: all that was there then must still be there.")
@click.option("--period", default="all", show_default=True, help="Seals of a month (2026-10, UTC), all, or none.")
@click.option("--collector", "url", help="Instead of FOLDER: check a sealed month as this collector tells it.")
@click.option("--token-file", type=_PATH, help="With --collector: file of the token; or set GPUTALLY_TOKEN.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    folder: Path | None,
    host_id: str | None,
    trusted_keys: Path | None,
    since: Path | None,
    period: str,
    url: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Check every hash, link and signature of the ledger in FOLDER, its collector running or not.

    Its seals are recomputed too: the log is folded anew into a temporary folder, which takes about a minute for a
    million records; --period none leaves that out.

    Exit codes: 0 all is as its hosts wrote it, 1 something is not (the first such place of each stream is told),
    65 the collector refuses, 66 there is no such ledger, host or seal, 69 a package is missing or the collector does
    not answer, 74 the file cannot be read.
    """
    if (folder is None) == (url is None):
        raise click.UsageError("give the FOLDER of a ledger, or --collector URL and --period")
    span = read_period(period)
    if url is not None:
        sys.exit(verify_online(url, token_file, period, span, trusted_keys))
    assert folder is not None
    check = load_check()
    if check is None and trusted_keys is not None:
        _exit(NO_CHECK, Exit.UNAVAILABLE)
    try:
        pins = {} if trusted_keys is None else read_trusted_keys(trusted_keys)
        earlier = None if since is None else read_result(since)
        found = _look(folder, host_id, pins, check, earlier)
        seals = (
            None if period == NONE or host_id is not None else look_at_seals(folder, span, pins, check, found.broken)
        )
    except (LedgerError, BadTrustedKeys, BadResult) as error:
        _exit(str(error), Exit.IO if isinstance(error, LedgerBroken) else Exit.NO_INPUT)
    if host_id is not None and not (found.streams or found.changes):
        _exit(f"{folder} has no stream of host {host_id}", Exit.NO_INPUT)
    if span is not None and not seals:
        _exit(f"{folder} has no seal of {period}", Exit.NO_INPUT)
    if as_json:
        click.echo(json.dumps(_described(found) | describe_seals(seals), default=bytes.hex))
    else:
        click.echo("\n".join([*seal_lines(seals or ()), _table(found)]))
    sys.exit(Exit.OK if found.whole and are_whole(seals or ()) else Exit.BROKEN)


@dataclass(frozen=True, slots=True)
class _Found:
    streams: list[StreamReport]
    pinned_hosts: frozenset[str]
    missing_rows: int
    """That were deleted from the ledger, of whichever host; 0 where only one host was looked at."""
    checked: bool
    """Whether signatures were looked at."""
    changes: list[Change] | None
    """Since the earlier result that was given; None: none was."""

    @property
    def unsigned_hosts(self) -> list[str]:
        """Hosts whose key is pinned, and of which nothing is there that it signed."""
        signed = {stream.host_id for stream in self.streams if stream.checkpoints and stream.pinned}
        return sorted(self.pinned_hosts - signed)

    @property
    def broken(self) -> bool:
        """What is there cannot be folded as it was sealed."""
        return bool(self.missing_rows) or any(stream.broken for stream in self.streams)

    @property
    def whole(self) -> bool:
        wrong = self.missing_rows or self.unsigned_hosts or self.changes
        return not wrong and not any(stream.broken or stream.cut for stream in self.streams)


def _look(
    folder: Path, host_id: str | None, pins: Pins, check: Check | None, earlier: Sequence[Stood] | None
) -> _Found:
    streams = list(audit(folder, host_id, pins, check))
    missing_rows = count_missing_rows(folder) if host_id is None else 0
    pinned_hosts = frozenset(host for host in pins if host_id in (None, host)) - {OWN_HOST_ID}
    changed = None if earlier is None else list(changes(folder, host_id, earlier))
    return _Found(streams, pinned_hosts, missing_rows, check is not None, changed)


def _described(found: _Found) -> dict[str, Any]:
    streams = [asdict(stream) | {"unsigned_tail": stream.unsigned_tail} for stream in found.streams]
    return {
        "whole": found.whole,
        "signatures_checked": found.checked,
        "missing_rows": found.missing_rows,
        "unsigned_hosts": found.unsigned_hosts,
        "changes_since": None if found.changes is None else [asdict(change) for change in found.changes],
        "streams": streams,
    }


def _table(found: _Found) -> str:
    lines: list[str] = []
    for stream in found.streams:
        pinned = stream.host_id in found.pinned_hosts
        lines += [f"{stream.host_id}  epoch {stream.epoch.hex()}", *_lines(stream, found.checked, pinned)]
    lines += [f"{host}: a key is pinned, and nothing is there that it has signed" for host in found.unsigned_hosts]
    lines += [f"{found.missing_rows} rows were deleted from the ledger's log"] if found.missing_rows else []
    lines += [f"{one.host_id}  epoch {one.epoch.hex()}: {one.what}" for one in found.changes or ()]
    lines += [] if found.checked else [NO_CHECK]
    verdict = "all as their hosts wrote them" if found.whole else "NOT all as their hosts wrote them"
    return "\n".join([*lines, f"{len(found.streams)} streams: {verdict}"])


def _lines(report: StreamReport, checked: bool, pinned: bool) -> list[str]:
    told = [
        f"  frames     {report.frames} through {report.last_seq}, {report.tombstones} tombstones, "
        f"{report.skips} skips for {report.skipped_frames} frames"
    ]
    if checked:
        told.append(f"  signed     {_signed(report, pinned)}")
    for one in report.absences[:_MOST_ABSENCES]:
        told.append(f"  absent     {one.first_seq} to {one.last_seq}, {one.kind}: {one.reason}")
    if len(report.absences) > _MOST_ABSENCES:
        told.append("  absent     more of them: --json lists a hundred")
    told += [f"  CUT        {_cut(one)}" for one in report.cut]
    if report.broken is not None:
        told.append(f"  BROKEN     at frame {report.broken.seq} (log.id {report.broken.log_id}): {report.broken.what}")
    return told


def _cut(one: CutEpoch) -> str:
    gone = "" if one.is_there else ", nothing of which is there"
    return f"the ledger lacks frames {one.first_seq} to {one.last_seq} of the epoch before, {one.epoch.hex()}{gone}"


def _signed(report: StreamReport, pinned: bool) -> str:
    doubt = f", {report.unchecked} checkpoints cannot be told" if report.unchecked else ""
    if not report.checkpoints:
        return f"nothing{doubt}"
    trust = "pinned" if report.pinned else "not pinned" if pinned else "first seen, not pinned"
    tail = f"the last {report.unsigned_tail} frames are not"
    return f"through {report.signed_through} by key {report.key_id.hex()} ({trust}); {tail}{doubt}"


def _exit(message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(exit_code)
