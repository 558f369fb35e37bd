"""What a quiet segment must say of memory, busy time and energy: where nothing changes, samples are exact too."""

from collections.abc import Iterator

from .energy import Counter
from .ledger import Row, place_of, subject
from .reach import Reach, within
from .script import Gpu, Script, Stretch
from .timeline import Piece, Timeline, timelines

NS_PER_MS = 1_000_000
PERCENT = 100
ROUNDED_MJ = 2
"""Two values of a counter are each rounded down, and so is what is read between them."""


def check_quantities(script: Script, rows: list[Row]) -> Iterator[str]:
    """Each segment of a whole GPU around which nobody comes, goes, or goes wrong, by a tick on either side."""
    reach, lines = Reach(script), timelines(script)
    gpus = {gpu.device_id: (gpu, Counter(gpu, script)) for gpu in script.gpus if not gpu.mig}
    for row in rows:
        piece = _still(lines[row.device_id], reach, row) if row.device_id in gpus else None
        if piece is not None:
            gpu, counter = gpus[row.device_id]
            told = [*_check_memory(row, piece), *_check_busy(row, piece, gpu)]
            told += _check_energy(script, reach, row, gpu, counter)
            yield from (f"{place_of(script, row)} {what}" for what in told)


def _still(line: Timeline, reach: Reach, row: Row) -> Piece | None:
    """Who holds the device all the while; None where that changes, or something hides it."""
    pieces = list(line.between(row.start_ns - reach.tick_ns, row.end_ns + reach.tick_ns))
    if len(pieces) > 1 or not reach.is_quiet(row.device_id, row.start_ns, row.end_ns):
        return None
    return pieces[0]


def _check_memory(row: Row, piece: Piece) -> Iterator[str]:
    records = {(each.workload_kind, each.workload_id): each for each in row.records}
    length_ns = row.end_ns - row.start_ns
    for job in {holding.process.job for holding in piece.holdings}:
        held_bytes = sum(each.use.memory_bytes for each in piece.holdings if each.process.job == job)
        true = held_bytes * length_ns // NS_PER_MS
        record = records.get(subject(job))
        if record is None or abs(record.gpu_memory_byte_ms - true) > 1:
            yield f"{subject(job)} has {record and record.gpu_memory_byte_ms} byte-ms of {true}"


def _check_busy(row: Row, piece: Piece, gpu: Gpu) -> Iterator[str]:
    busy_ns = sum(record.busy_ns for record in row.records)
    true_ns = gpu.utilization_percent * (row.end_ns - row.start_ns) // PERCENT if piece.holdings else 0
    if abs(busy_ns - true_ns) > len(row.records):
        yield f"was busy for {busy_ns} ns of {true_ns} ns"
    if any(record.busy_known_ns != record.held_ns for record in row.records):
        yield "does not know all the while how busy it was"


def _check_energy(script: Script, reach: Reach, row: Row, gpu: Gpu, counter: Counter) -> Iterator[str]:
    """Where the power and the counter stay as they are."""
    from_ns, until_ns = row.start_ns - 3 * reach.tick_ns, row.end_ns + reach.tick_ns
    changes = [each.at_ns for each in gpu.power] + [r.at_ns for r in script.restarts if r.device_id == gpu.device_id]
    nonsense = [Stretch(g.from_ns, g.until_ns) for g in script.glitches if g.device_id == gpu.device_id]
    is_calm = not any(from_ns <= at_ns <= until_ns for at_ns in changes) and not within(nonsense, from_ns, until_ns)
    if not is_calm or not row.row.HasField("energy_start_mj"):
        return
    metered_mj = row.row.energy_end_mj - row.row.energy_start_mj
    true_mj = counter.spent_mj(row.start_ns, row.end_ns)
    if abs(metered_mj - true_mj) > ROUNDED_MJ:
        yield f"spent {metered_mj} mJ, and {true_mj} mJ in truth"
    if row.row.unobserved_energy_mj:
        yield f"spent {row.row.unobserved_energy_mj} mJ that nobody observed"
