"""What each GPU spent, as metered and as it was: nothing twice, nothing that was not, and what is missing is known."""

from collections import defaultdict
from collections.abc import Iterator

from .energy import Counter
from .ledger import Row
from .reach import Reach
from .script import Gpu, Script, Stretch

ROUNDED_MJ = 2
"""A row's two ends are whole millijoules, on a scale of whole millijoules."""


def check_energies(script: Script, rows: list[Row]) -> Iterator[str]:
    """Each GPU with its instances: the driver counts for all of them together."""
    reach = Reach(script)
    parents = {each.device_id: each.parent_id for each in script.instances}
    families = defaultdict[tuple[str, str], list[Row]](list)
    for row in rows:
        families[parents.get(row.device_id, row.device_id), row.boot_id].append(row)
    for gpu in script.gpus:
        counter = Counter(gpu, script)
        for (device_id, boot_id), family in families.items():
            if device_id == gpu.device_id:
                told = _check_family(script, reach, gpu, counter, family)
                yield from (f"{device_id} in {boot_id} {what}" for what in told)


def _check_family(script: Script, reach: Reach, gpu: Gpu, counter: Counter, rows: list[Row]) -> Iterator[str]:
    counted = [row for row in rows if row.row.HasField("energy_start_mj")]
    whole = [row for row in counted if row.device_id == gpu.device_id]
    if not whole:
        return
    start_ns, end_ns = whole[0].start_ns, whole[-1].end_ns
    metered_mj = sum(row.row.energy_end_mj - row.row.energy_start_mj for row in counted)
    true_mj = sum(counter.spent_mj(row.start_ns, row.end_ns) for row in whole)
    missable_mj = sum(counter.spent_mj(s.from_ns, s.until_ns) for s in _uncounted(script, reach, gpu, start_ns, end_ns))
    rounded_mj = ROUNDED_MJ * (1 + len(script.restarts)) + len(whole)
    if metered_mj > true_mj + rounded_mj:
        yield f"was metered {metered_mj - true_mj} mJ more than it spent"
    if metered_mj < true_mj - missable_mj - rounded_mj:
        yield f"was metered {true_mj - metered_mj} mJ less than it spent; may be {missable_mj}"


def _uncounted(script: Script, reach: Reach, gpu: Gpu, start_ns: int, end_ns: int) -> Iterator[Stretch]:
    """What a counter that began anew no longer shows, back to the last reading before, and on to the next."""
    for restart in script.restarts:
        if restart.device_id == gpu.device_id:
            around = [each for each in reach.blind[gpu.device_id] if restart.at_ns in each]
            from_ns = min([restart.at_ns - reach.tick_ns, *(each.from_ns for each in around)])
            until_ns = max([restart.at_ns + 2 * reach.tick_ns, *(each.until_ns for each in around)])
            if from_ns < end_ns and start_ns < until_ns:
                yield Stretch(max(from_ns, start_ns), min(until_ns, end_ns))
