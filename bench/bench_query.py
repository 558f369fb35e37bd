"""How long a month by tenant and model takes over ten million records: from records, and from rollups.

Bound: 250 ms from the records and 10 ms from the rollups, 1 % of the records revised, the whole question
as the API asks it (sums, totals, completeness, grid) beside the one statement that a person would write for
DuckDB over the same data. Two threads; beside the time by the clock stands the CPU's, halved: what the clock
would show with both cores free. The records are written by one statement, as the appender would
have left them: the question is how they are read.

    bench_query.py [--records 10000000] [--folder DIR]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gputally.collector.query import read_request
from gputally.collector.usage_answer import Asked, answer_usage
from gputally.model.interval import NS_PER_S
from gputally.storage import projection_usage
from gputally.storage.projection import Projection
from gputally.storage.projection_reader import snapshot
from gputally.storage.usage_query import Dimension, Scope, UsageQuery
from gputally.storage.usage_store import HostState

RAW_MS, ROLLUP_MS = 250, 10
JUNE_S = 1_748_736_000
JUNE = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-07-01T00:00:00Z"}
MINUTES = 30 * 24 * 60
TENANTS, MODELS, A_FRAME = 40, 4, 8


def fill(projection: Projection, records: int) -> None:
    """Devices all month, one record a minute each, a new workload every hour, one segment in a hundred revised."""
    devices = max(1, records // MINUTES)
    db = projection.reader()
    db.begin()
    for statement in statements(devices, devices * MINUTES):
        db.execute(statement)
    db.commit()
    db.execute("CHECKPOINT")
    projection.reopen(2**60)
    with projection.transaction(projection.position):
        complete_ns = (JUNE_S + 40 * 86400) * NS_PER_S
        hosts = [f"host-{number}" for number in range((devices + 7) // 8)]
        projection.save_hosts(
            HostState(host_id, 1, 1, first_window_ns=JUNE_S * NS_PER_S, watermark_ns=complete_ns) for host_id in hosts
        )
        projection.mark_dirty(range(JUNE_S, JUNE_S + MINUTES * 60, 900))


def statements(devices: int, rows: int) -> list[str]:
    """SQL that writes the tables. ``i`` counts records by minute and device; revisions come at the end of the log."""
    last = rows // A_FRAME
    place = (
        f"(i // {A_FRAME})::BIGINT AS log_id, (i % {A_FRAME})::INTEGER AS segment_no, (i % {devices})::INTEGER AS"
        f" device_no, ({JUNE_S} + 60 * (i // {devices}))::BIGINT AS window_s, 0::INTEGER AS window_rest_ns"
    )
    again = place.replace(f"i // {A_FRAME}", f"{last} + i // 800")
    subject = f"((i % {devices}) * 7 + hash(i // ({devices} * 60)) % 50)::INTEGER"
    allocated = "(CASE WHEN hash(i) % 4 = 0 THEN hash(i + 1) % 60000000000 ELSE 60000000000 END)::UBIGINT"
    record = (
        f"0::INTEGER, {subject}, 0::UINTEGER, {allocated}, 60000000000, 0, 0, (hash(i + 2) % 60000000000)::UBIGINT,"
        " 60000000000, (hash(i + 3) % 4800000000000000)::UBIGINT, (hash(i + 4) % 42000)::UBIGINT, 0"
    )
    row = (
        f"0, 0, 60000000000, 0, 60000000000 - {allocated}, 0, 1,"
        " ((i // 8) * 40000)::UBIGINT, 40000, 0, 0, 'counter', 1000000000, 0, 0"
    )
    revised = record.replace("0::UINTEGER", "1::UINTEGER")
    return [
        f"INSERT INTO device SELECT i, 'host-' || (i // 8), 'boot', 'nvidia:GPU-' || i, 0, 'NVIDIA ' || (i % {MODELS}),"
        f" 60000000000, 'synced', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0 FROM range({devices}) t(i)",
        f"INSERT INTO subject SELECT i, 'docker', 'w' || i, '', 'tenant-' || (i % {TENANTS}), 'p' || (i % 9), 'rule',"
        f" '', [], 'process', 'equal', 1, false, 'v1', 'cgroup', '' FROM range({devices * 7 + 50}) t(i)",
        f"INSERT INTO record SELECT {place}, {record} FROM range({rows}) t(i)",
        f"INSERT INTO device_row SELECT {place}, {row} FROM range({rows}) t(i)",
        f"INSERT INTO superseded SELECT i // {A_FRAME}, i % {A_FRAME}, {last} + i // 800"
        f" FROM range(0, {rows}, 100) t(i)",
        f"INSERT INTO record SELECT {again}, {revised} FROM range(0, {rows}, 100) t(i)",
        f"INSERT INTO device_row SELECT {again}, {row} FROM range(0, {rows}, 100) t(i)",
        f"UPDATE position SET log_id = {last + rows // 800 + 1}",
    ]


BARE = """
    SELECT gpu_model, tenant, sum(allocated_ns)::HUGEINT FROM record r
    ANTI JOIN superseded s ON s.log_id = r.log_id AND s.segment_no = r.segment_no
    JOIN device USING (device_no) JOIN subject USING (subject_no) GROUP BY ALL ORDER BY ALL
"""


def best_ms(question: Callable[[], Any], times: int) -> tuple[float, float, float, Any]:
    """(the best, the median, half the least CPU time, the answer)"""
    taken: list[float] = []
    cpu: list[float] = []
    answer = None
    for _ in range(times):
        start, cpu_start = time.perf_counter(), time.process_time()
        answer = question()
        cpu.append((time.process_time() - cpu_start) * 500)
        taken.append((time.perf_counter() - start) * 1000)
    return min(taken), sorted(taken)[times // 2], min(cpu), answer


def ask(projection: Projection) -> dict[str, Any]:
    with snapshot(projection) as seen:
        return answer_usage(Asked(read_request(JUNE), "/v1/usage", JUNE), seen, ())


def sums(projection: Projection) -> Any:
    span = read_request(JUNE).span
    with snapshot(projection) as seen:
        query = UsageQuery(Scope(span, seen.position), (Dimension.GPU_MODEL, Dimension.ORG))
        return projection_usage.sum_usage(seen, query, lambda _: "")


def run(records: int, folder: Path) -> None:
    projection = Projection(folder, "bench", 2**60)
    start = time.perf_counter()
    fill(projection, records)
    count, revised = (
        projection.reader()
        .execute("SELECT (SELECT count(*) FROM record), (SELECT count(*) FROM superseded)")
        .fetchall()[0]
    )
    print(f"{count:,} records, {revised:,} of them superseded, written in {time.perf_counter() - start:.0f} s")
    bare = best_ms(lambda: projection.reader().execute(BARE).fetchall(), 7)
    raw, raw_whole = best_ms(lambda: sums(projection), 7), best_ms(lambda: ask(projection), 7)
    start = time.perf_counter()
    made = 0
    while some := projection.refresh(2**62):
        made += some
    print(f"{made:,} rollups made in {time.perf_counter() - start:.1f} s")
    rolled, rolled_whole = best_ms(lambda: sums(projection), 21), best_ms(lambda: ask(projection), 21)
    assert raw[3] == rolled[3] and raw_whole[3] == rolled_whole[3], "the two do not agree"
    assert [(group.keys, group.ns) for group in raw[3].groups] == [((m, t), ns) for m, t, ns in bare[3]]
    print(f"{'a month by tenant and model':44} {'best':>8} {'median':>8} {'CPU / 2':>8}")
    for name, (best, median, cpu, _) in (
        ("bare DuckDB, over the records", bare),
        (f"sums and totals from records (<= {RAW_MS})", raw),
        ("the API's whole answer from records", raw_whole),
        (f"sums and totals from rollups (<= {ROLLUP_MS})", rolled),
        ("the API's whole answer from rollups", rolled_whole),
    ):
        print(f"{name:44} {best:>5.1f} ms {median:>5.1f} ms {cpu:>5.1f} ms")
    projection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    told = parser.parse_args()
    if told.folder:
        told.folder.mkdir(parents=True, exist_ok=True)
        run(told.records, told.folder)
    else:
        with tempfile.TemporaryDirectory() as made:
            run(told.records, Path(made))
