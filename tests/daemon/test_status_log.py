"""What the status says of a log that nobody gets into."""

import threading
from pathlib import Path

import trio

from gputally.daemon.status import describe_log
from gputally.model.refused import Refused
from gputally.storage.wal import Log, LogStat

from .test_keeper import host_at


class BeingChecked(Log):
    done: threading.Event

    def stat(self) -> LogStat:
        assert self.done.wait(60)
        return super().stat()


def test_a_log_that_is_being_checked_holds_up_neither_the_status_nor_anything_else(tmp_path: Path) -> None:
    log = BeingChecked.open(tmp_path / "log", "host", 1 << 20)
    assert isinstance(log, BeingChecked)
    log.done = threading.Event()

    async def main() -> None:
        try:
            for _ in range(4):  # more than there are threads for it
                told = await describe_log(log, 3, Refused())
                assert (told["last_seq"], told["waiting"]) == (None, 3)
                assert "opened anew" in str(told["trouble"])
        finally:
            log.done.set()
        with trio.fail_after(60):
            while (told := await describe_log(log, 0, Refused()))["trouble"]:
                await trio.sleep(0.01)
        assert (told["last_seq"], told["epoch"]) == (0, log.epoch.hex())

    trio.run(main)
    log.close()


def test_time_that_was_given_up_and_is_not_told_yet_is_shown(tmp_path: Path) -> None:
    batch = next(batch for batch in host_at(130).batches if batch.rows)
    log = Log.open(tmp_path / "log", "host", 1 << 20)
    told = trio.run(describe_log, log, 0, Refused().with_batch(batch))
    log.close()
    assert told["undeclared_ns"] == sum(row.segment.boot.length_ns for row in batch.rows) > 0
