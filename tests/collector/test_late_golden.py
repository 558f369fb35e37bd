"""G14 through real frames and the HTTP API: a record for June arrives after June is sealed."""

import json
from pathlib import Path
from typing import Any

from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost

from ..model.price_list import GOLDEN
from .priced import golden_host, guarded_config, publish, rows_of
from .running import HOUR_NS, JUNE_NS, RunningCollector
from .test_decisions import post

CASES = json.loads((Path(__file__).parent.parent / "data" / "golden_usage.json").read_text())["cases"]
G14: dict[str, str] = next(case["expect"] for case in CASES if case["id"] == "G14")
JUNE = {"range_from": "2025-06-01T00:00:00Z", "range_to": "2025-07-01T00:00:00Z"}
JULY = {"range_from": "2025-07-01T00:00:00Z", "range_to": "2025-08-01T00:00:00Z"}


def test_g14_a_record_for_june_arrives_after_june_is_sealed(tmp_path: Path) -> None:
    with RunningCollector(guarded_config(tmp_path)) as collector:

        def ask(path: str, **asked: str) -> Any:
            answer = collector.ask(path, "op", **asked)
            assert answer.status_code == 200, answer.text
            return answer

        collector.deliver(golden_host())
        collector.wait_until_folded()
        assert publish(collector, GOLDEN).status_code == 201
        period = {"from_": JUNE["range_from"], "to": JUNE["range_to"], "why": "end of June"}
        for step in ("close", "seal"):
            made = post(collector, f"/v1/periods/{step}", "op", **period)
            assert made.status_code == 201, made.text
        june, focus = ask("/v1/usage", **JUNE).json(), ask("/v1/export/focus", **JUNE).text
        late = SimulatedHost("gpu-late")
        late.hold("nvidia:GPU-late", "NVIDIA H100", "Org-A", Interval(JUNE_NS, JUNE_NS + HOUR_NS), HOUR_NS)
        collector.deliver(late)
        collector.wait_until_folded()
        assert G14["june"] == "unchanged"
        after = ask("/v1/usage", **JUNE).json()
        assert [after[name] for name in ("items", "grand_total")] == [june[name] for name in ("items", "grand_total")]
        assert ask("/v1/export/focus", **JUNE).text == focus
        assert G14["july"] == "one adjustment, FOCUS ChargeClass=Correction"
        (booked,) = ask("/v1/adjustments", **JULY).json()["items"]
        assert (booked["tenant"], booked["ns"], booked["at"]) == ("Org-A", str(HOUR_NS), JULY["range_from"])
        (row,) = rows_of(ask("/v1/export/focus", **JULY).text)
        assert (row["ChargeClass"], row["BilledCost"], row["BillingAccountId"]) == ("Correction", "3.90", "Org-A")
        proven = ask("/v1/periods/proof", **{"from": JUNE["range_from"], "to": JUNE["range_to"]}).json()
        assert proven["seal"]["root"] and ask("/v1/usage", **JULY).json()["adjustments"]["count"] == 1
