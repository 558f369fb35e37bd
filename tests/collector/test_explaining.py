"""What an explanation takes from the log: each batch about once, and no bodies that nobody asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gputally.collector import explaining
from gputally.collector.explaining import ExplainAsked, explain
from gputally.collector.problems import BadParameter
from gputally.collector.sealing import Sealer
from gputally.model.interval import Interval
from gputally.simulator.stream import SimulatedHost
from gputally.storage.ledger_reader import Entry, LedgerReader
from gputally.storage.projection_reader import snapshot

from .folded import Folded
from .running import HOUR_NS, JUNE_NS

HOURS = 200
SPAN = Interval(JUNE_NS, JUNE_NS + HOURS * HOUR_NS)


class CountingReader(LedgerReader):
    """A real reader that counts how often it is asked."""

    reads = 0

    def read(self, after_log_id: int, most: int, most_bytes: int) -> list[Entry]:
        self.reads += 1
        return super().read(after_log_id, most, most_bytes)


@dataclass(frozen=True, slots=True)
class Explaining:
    folded: Folded
    ledger: CountingReader

    def __call__(self, *, frames: bool, tenant: str = "A") -> dict[str, Any]:
        with snapshot(self.folded.projection) as seen:
            asked = ExplainAsked(SPAN, tenant, None, frames, False)
            return explain(asked, seen, self.ledger, Sealer(b"l" * 16, None))


@pytest.fixture
def explaining_it(tmp_path: Path) -> Iterator[Explaining]:
    """Two tenants by turns, a frame for each hour."""
    host = SimulatedHost("gpu-01", records_per_frame=1)
    for hour in range(HOURS):
        span = Interval(JUNE_NS + hour * HOUR_NS, JUNE_NS + (hour + 1) * HOUR_NS)
        host.hold("nvidia:GPU-1", "NVIDIA L40", "AB"[hour % 2], span, HOUR_NS)
    with Folded(tmp_path) as folded:
        folded.take("gpu-01", host.batches())
        ledger = CountingReader(tmp_path)
        with ledger:
            yield Explaining(folded, ledger)


def test_frames_that_lie_together_are_read_together(explaining_it: Explaining) -> None:
    told = explaining_it(frames=True)
    assert len(told["frames"]) == len(told["records"]) == HOURS // 2
    assert explaining_it.ledger.reads <= HOURS // 64 + 1
    whole = {frame["log_id"]: {name: frame[name] for name in frame if name != "bytes"} for frame in told["frames"]}
    for record in explaining_it(frames=False)["records"]:
        assert record["frame"] == whole[record["frame"]["log_id"]]


def test_too_many_bytes_are_refused_while_they_are_read(
    explaining_it: Explaining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MOST_FRAME_BYTES", 1_000)
    with pytest.raises(BadParameter, match="more than 1000 bytes"):
        explaining_it(frames=True)
    assert explaining_it.ledger.reads == 1  # and not one of each frame of the range
    assert explaining_it(frames=False)["frames"] == []
