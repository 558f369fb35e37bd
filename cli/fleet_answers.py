"""What a collector's API says of a simulated fleet, beside the truth."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from ..collector.instants import format_instant
from ..model.interval import NS_PER_HOUR
from ..simulator.fleet.plan import FleetPlan
from ..simulator.fleet.truth import METERS, Difference, Key, Truth, compare, truth_of
from .asking import Collector, NoAnswer
from .usage import ask_all

_STUCK_AFTER_S: Final = 60.0
_ASK_EVERY_S: Final = 0.2
_STATE_KEYS: Final = frozenset({"log_id", "projected_log_id"})


class Answers:
    """Questions about one fleet. Raises NoAnswer."""

    def __init__(self, collector: Collector, plan: FleetPlan) -> None:
        self._collector, self._plan = collector, plan
        # Whole hours are on the grid of every window length that another host of the ledger may have.
        start_ns = plan.start_ns - plan.start_ns % NS_PER_HOUR
        end_ns = plan.end_ns + -plan.end_ns % NS_PER_HOUR
        self._range = {"range_from": format_instant(start_ns), "range_to": format_instant(end_ns)}

    def usage(self, meter: str) -> Counter[Key]:
        """ns of each of the fleet's tenants, by GPU model."""
        items = self._ask("org,gpu_model", meter)
        return Counter({(item["org"], item["gpu_model"]): int(item["ns"]) for item in items if self._is_ours(item)})

    def differences(self, truth: Truth) -> list[Difference]:
        """Over both meters."""
        return [each for meter in METERS for each in compare(meter, getattr(truth, meter), self.usage(meter))]

    def wrong_hosts(self, windows: Counter[int]) -> list[str]:
        """Hosts whose allocated time is not the truth, over all their tenants; in order."""
        answered: Counter[str] = Counter()
        for item in self._ask("host,org", "allocated"):
            if self._is_ours(item):
                answered[item["host"]] += int(item["ns"])
        return sorted({*answered, *map(self._plan.host_id, windows)} - self._right(windows, answered))

    def wait_until_folded(self, tell: Callable[[str], None]) -> None:
        """Until all that is in the log by now is in the answers."""
        wanted, folded, moved_s = 0, -1, time.monotonic()
        while True:
            state = self._collector.get("/readyz", keys=_STATE_KEYS)
            wanted = wanted or int(state["log_id"])
            if folded != int(state["projected_log_id"]):
                folded, moved_s = int(state["projected_log_id"]), time.monotonic()
            if folded >= wanted:
                return
            if time.monotonic() - moved_s > _STUCK_AFTER_S:
                tell(f"the collector's answers stay {wanted - folded} entries behind its log: taken as they are")
                return
            time.sleep(_ASK_EVERY_S)

    def _right(self, windows: Counter[int], answered: Counter[str]) -> set[str]:
        return {
            host_id
            for host, count in windows.items()
            if truth_of(self._plan, {host: count}).allocated.total() == answered[host_id := self._plan.host_id(host)]
        }

    def _ask(self, group_by: str, meter: str) -> list[dict[str, str]]:
        items: list[dict[str, str]] = ask_all(
            self._collector, {**self._range, "group_by": group_by, "meter": meter}
        )["items"]  # fmt: skip
        return items

    def _is_ours(self, item: dict[str, str]) -> bool:
        return item["org"].startswith(f"{self._plan.prefix}-tenant-")


def check_unused(answers: Answers) -> None:
    """Raises NoAnswer where the API does not answer, and ValueError where it knows the fleet already."""
    if answers.usage(METERS[0]):
        raise ValueError("the collector knows hosts of this prefix already: choose another --hosts-prefix")


__all__ = ["Answers", "NoAnswer", "check_unused"]
