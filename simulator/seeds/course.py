"""The course of each device and of the host: where rows must begin and end, and how the wall clock names them."""

from collections.abc import Iterator
from itertools import pairwise

from ..audit.segment import SLEW_NS
from .clocks import Clocks
from .ledger import Row, place_of, read_batches
from .reach import CHECKPOINT_NS, Reach
from .script import Boot, Ending, Life, S, Script, Stretch


def check_courses(script: Script, rows: list[Row], ledger: tuple[bytes, ...]) -> Iterator[str]:
    """Each boot's rows of a device, the rows of the host, and the gaps between boots."""
    reach = Reach(script)
    yield from _check_names(script, reach, rows)
    for boot in script.boots:
        lives = [life for life in script.lives if boot.up_ns <= life.start_ns < boot.down_ns]
        if lives:
            for device_id in script.device_ids:
                mine = [row for row in rows if (row.boot_id, row.device_id) == (boot.boot_id, device_id)]
                told = _check_device(script, reach, device_id, lives, mine)
                yield from (f"{device_id} in {boot.boot_id} {what}" for what in told)
    yield from _check_gaps(script, ledger)


def _check_device(script: Script, reach: Reach, device_id: str, lives: list[Life], rows: list[Row]) -> Iterator[str]:
    """Its rows cover the time from when it could first be seen to when it, or the daemon, was gone."""
    for there in _existence(script, device_id):
        from_ns = _first_seen_ns(reach, device_id, max(lives[0].start_ns, there.from_ns))
        until_ns = min(_last_kept_ns(reach, lives), there.until_ns - 2 * reach.tick_ns)
        covered = sum(max(min(r.end_ns, until_ns) - max(r.start_ns, from_ns), 0) for r in rows)
        if until_ns > from_ns and covered != until_ns - from_ns:
            yield f"has rows for {covered} of {until_ns - from_ns} ns from {from_ns / S:.3f} s on"


def _existence(script: Script, device_id: str) -> Iterator[Stretch]:
    if any(gpu.device_id == device_id for gpu in script.gpus):
        yield Stretch(-(1 << 62), 1 << 62)
    for each in script.instances:
        if each.device_id == device_id:
            yield Stretch(each.made_ns, each.gone_ns)


def _first_seen_ns(reach: Reach, device_id: str, from_ns: int) -> int:
    """When it must have been met at the latest."""
    for blind in reach.blind[device_id]:
        if blind.from_ns <= from_ns + 2 * reach.tick_ns < blind.until_ns:
            return blind.until_ns + 2 * reach.tick_ns
    return from_ns + 2 * reach.tick_ns


def _last_kept_ns(reach: Reach, lives: list[Life]) -> int:
    """Until when its time must have been kept: what came after the last checkpoint of a boot is the host's gap."""
    last = lives[-1]
    return reach.remembered_ns(last) if last.ending is not Ending.STOPPED else last.end_ns - reach.tick_ns


def _check_names(script: Script, reach: Reach, rows: list[Row]) -> Iterator[str]:
    """Each row bears the name that the wall clock gave its start, but for where a step had not been noticed yet."""
    clocks = Clocks(script)
    # Who sets a clock by so little slews it: no segment is cut for that.
    slewed_ns = sum(abs(step.by_ns) for step in script.steps if abs(step.by_ns) <= SLEW_NS)
    for row in rows:
        off_ns = abs(row.segment.wall_start_ns - clocks.wall_ns(row.start_ns))
        if off_ns > slewed_ns and not _step_near(script, reach, row):
            yield f"{place_of(script, row)} begins at {row.segment.wall_start_ns} by a wall clock that showed " + str(
                clocks.wall_ns(row.start_ns)
            )


def _step_near(script: Script, reach: Reach, row: Row) -> bool:
    for step in script.steps:
        around = [each for each in reach.blind[row.device_id] if step.at_ns in each]
        noticed_ns = max([step.at_ns + 2 * reach.tick_ns, *(each.until_ns for each in around)])
        if step.at_ns - reach.tick_ns <= row.start_ns <= noticed_ns:
            return True
    return False


def _check_gaps(script: Script, ledger: tuple[bytes, ...]) -> Iterator[str]:
    """Between two boots that were metered the wall clock has a gap, unless it was set back meanwhile."""
    told = {(batch.boot_id, gap.former_boot_id) for batch in read_batches(ledger) for gap in batch.host_gaps}
    metered = [
        boot for boot in script.boots if any(boot.up_ns <= life.start_ns < boot.down_ns for life in script.lives)
    ]
    for former, boot in pairwise(metered):
        if (boot.boot_id, former.boot_id) not in told and not _set_back(script, former, boot):
            yield f"there is no gap between {former.boot_id} and {boot.boot_id}"


def _set_back(script: Script, former: Boot, boot: Boot) -> bool:
    return any(
        each.by_ns < 0 and former.down_ns - CHECKPOINT_NS * 10 < each.at_ns < boot.down_ns for each in script.steps
    )
