"""Two seconds across midnight of a month: cut by the meter itself, then frames, ledger and API."""

import json
from pathlib import Path

from gputally.simulator.stream import chain
from gputally.simulator.uplink import deliver

from ..collector.running import RunningCollector, write_config
from ..model.host import PaperHost, Run, S

MAY_31_NS = 1_748_735_999_500_000_000  # 2025-05-31T23:59:59.5Z
EPOCH = b"month edge epoch"


def test_g10_an_allocation_across_the_edge_of_a_month(tmp_path: Path) -> None:
    cases = json.loads((Path(__file__).parent.parent / "data" / "golden_usage.json").read_text())["cases"]
    golden = next(case["expect"] for case in cases if case["id"] == "G10")
    host = PaperHost([Run(1, "a", 50 * S, 52 * S)], offset_ns=MAY_31_NS - 50 * S)
    for tick in range(200):
        host.tick(tick * S)
    with RunningCollector(write_config(tmp_path)) as collector:
        deliver(collector.intake, "host", EPOCH, chain("host", EPOCH, host.batches))
        may = collector.usage("2025-05-31T00:00:00Z", "2025-06-01T00:00:00Z")
        june = collector.usage("2025-06-01T00:00:00Z", "2025-06-02T00:00:00Z")
        span = {"range_from": "2025-05-31T00:00:00Z", "range_to": "2025-06-02T00:00:00Z"}
        conservation = collector.ask("/v1/conservation", **span).json()
    assert may["grand_total"]["ns"] == golden["may_ns"]
    assert june["grand_total"]["ns"] == golden["june_ns"]
    assert conservation["summary"]["exact"] is True
