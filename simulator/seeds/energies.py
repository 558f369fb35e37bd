"""What each GPU spent, as metered and as it was: nothing twice, nothing that was not, and what is missing is known."""

from collections import defaultdict
from collections.abc import Iterator

from .energy import Counter
from .ledger import Row
from .reach import Reach
from .script import Gpu, Script, Stretch

_AWAY = ("gpu_lost", "driver_reload")
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
    for each in _doubtful(script, reach, gpu):
        edges = (each.from_ns, each.until_ns)
        around = [blind for blind in reach.blind[gpu.device_id] if any(edge in blind for edge in edges)]
        from_ns = min([each.from_ns - reach.tick_ns, *(blind.from_ns for blind in around)])
        until_ns = max([each.until_ns + 3 * reach.tick_ns, *(blind.until_ns for blind in around)])
        if from_ns < end_ns and start_ns < until_ns:
            yield Stretch(max(from_ns, start_ns), min(until_ns, end_ns))


def _doubtful(script: Script, reach: Reach, gpu: Gpu) -> list[Stretch]:
    """When its counter begins anew, or may have: after a loss the probe does not compare, whatever it reads.

    It forgets how often, with each life of the daemon: then it does not compare once more.
    """
    found = [Stretch(x.from_ns, x.until_ns) for x in script.glitches if x.device_id == gpu.device_id]
    found += [Stretch(x.at_ns, x.at_ns) for x in script.restarts if x.device_id == gpu.device_id]
    found += [Stretch(x.from_ns, x.until_ns) for x in reach.blinds_of(gpu.device_id) if x.reason in _AWAY]
    return found + (reach.down[gpu.device_id] if found else [])
