"""A plug that fails costs its own answer: the reading is lost, the meter goes on."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from gputally.daemon.keeper import Keeper, WriterThread
from gputally.daemon.mailbox import Mailbox
from gputally.daemon.metering import Metering
from gputally.model.meter import Meter
from gputally.model.reading import HostReading
from gputally.model.usage import Batch
from gputally.model.workload import Attribution
from gputally.proto.convert import decode_batch
from gputally.storage.frame import read_frame
from gputally.storage.wal import Log

from ..model.host import PaperHost, Run, S


class Failing:
    """An attributor and a telemetry plug that fail now and then."""

    rules_version = "r1"

    def __init__(self, host: PaperHost) -> None:
        self.host, self.asked = host, 0

    def attribute(self, reading: HostReading) -> Attribution:
        self.asked += 1
        if self.asked % 10 == 0:
            raise RuntimeError("a defect of the plug")
        return self.host.attribution(reading.boot_ns)

    def observe(self, reading: HostReading) -> None:
        raise RuntimeError("a defect of the plug")

    def account(self, batch: Batch) -> None:
        raise RuntimeError("a defect of the plug")

    def alarm(self, devices: Mapping[str, int]) -> None:
        raise RuntimeError("a defect of the plug")

    def fileno(self) -> int:
        return -1

    def note_exits(self) -> None: ...

    def close(self) -> None: ...


def test_a_plug_that_fails_now_and_then_costs_readings_and_no_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = PaperHost([Run(1, "a", 0, 900 * S)])
    plug, box = Failing(host), Mailbox[HostReading](100)
    for tick in range(61):
        assert box.offer(host.reading(tick * S))
    box.close()
    log = Log.open(tmp_path / "log", "host", 16 << 20)
    seen: list[HostReading] = []
    metering = Metering(
        box,
        plug,
        Keeper(log, WriterThread()),
        lambda: Meter("host", "boot", 60 * S, rules_version="r1"),
        lambda: None,
        lambda reading, _: seen.append(reading),
        telemetry=plug,
    )
    trio.run(metering.run)
    batches = [decode_batch(read_frame(raw).payload()) for raw in log.read(1, 99, 1 << 30)]
    assert sum(record.allocated_ns for batch in batches for record in batch.records) == 60 * S
    assert len(seen) == 55
    assert "attributor failed" in caplog.text and "telemetry failed" in caplog.text
