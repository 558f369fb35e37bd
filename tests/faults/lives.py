"""A host and a collector as processes that live for milliseconds: the real log, keeper, uplink and collector."""

import contextlib
import logging
import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from gputally.collector.app import run_collector
from gputally.collector.config import ApiConfig, CollectorConfig, IntakeConfig, LedgerConfig
from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import Keeper, WriterThread
from gputally.daemon.uplink import Uplink
from gputally.daemon.uplink_session import Pace
from gputally.storage.wal import Log

from .forks import Promises
from .metered import meter_at, next_number, second
from .stores import platter

MIB: Final = 1 << 20
FAST: Final = Pace(welcome_s=3, ack_s=3, goodbye_s=0.5, close_s=0.5, first_retry_s=0.01, longest_retry_s=0.05)
KEPT, TOLD = 0, 1
"""Cells of a host's promises: seconds kept so far, by the keeper's word, and acknowledged frames."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a life needs to know."""

    folder: Path
    host_id: str
    endpoint: str
    promises: Promises
    cap_bytes: int = 4 * MIB
    pause_s: float = 0.0
    hasty: bool = False
    """The control: says that a second is kept before it is."""

    def live(self) -> None:
        """Meters one second after another, and brings them out. Until it is killed."""
        logging.disable(logging.CRITICAL)
        trio.run(self._live, math.inf)

    def drain(self) -> None:
        """A last life that meters nothing and ends when everything is acknowledged, or after a minute."""
        logging.disable(logging.CRITICAL)
        trio.run(self._live, 0)

    async def _live(self, seconds: float) -> None:
        log = Log.open(self.folder, self.host_id, self.cap_bytes, platter())
        in_writer = WriterThread()
        settings = UplinkConfig(endpoints=(self.endpoint,), insecure_plaintext=True, linger_s=math.inf)
        uplink = Uplink(log, settings, self.host_id, "0.faults", in_writer, self._told, pace=FAST)
        keeper = Keeper(log, in_writer)
        # Time that was said to be kept does not come again: if the log does not have it, it is a hole.
        number = max(next_number(await keeper.restore()), self.promises[KEPT])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(uplink.run)
            while seconds > 0:
                await self._keep(keeper, number)
                uplink.wake()
                number, seconds = number + 1, seconds - 1
                await trio.sleep(self.pause_s)
            await uplink.drain(60)
            nursery.cancel_scope.cancel()
        log.close()

    async def _keep(self, keeper: Keeper, number: int) -> None:
        if self.hasty:
            self.promises[KEPT] = number + 1
        kept = await keeper.keep(meter_at(self.host_id, number + 1), second(self.host_id, number))
        if kept:
            self.promises[KEPT] = number + 1

    def _told(self, through_seq: int) -> None:
        self.promises[TOLD] = max(self.promises[TOLD], through_seq)


def serve(folder: Path, endpoint: str, ready: Promises | None = None) -> None:
    """A collector's life: the whole of it, intake, ledger, projection and API. Until it is killed."""
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # DuckDB says things while Python ends
    config = CollectorConfig(
        intake=IntakeConfig(listen=endpoint, insecure_plaintext=True),
        ledger=LedgerConfig(path=str(folder)),
        api=ApiConfig(listen="127.0.0.1:0"),
    )

    def say(_: str) -> None:
        if ready is not None:
            ready[0] += 1

    with contextlib.suppress(KeyboardInterrupt):
        run_collector(config, say, lambda: False)


def free_port() -> int:
    """Of loopback, where nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
