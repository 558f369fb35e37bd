"""Networks: cuts, resets, silence, single bytes, delays, and acknowledgements lost, doubled and late, in random order.

Each sequence is a host of its own, with a real log and a real uplink, before one real collector. In the end the
weather is fair, and then everything must be in the ledger once, and acknowledged.
"""

import logging
import math
import random
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

from gputally.daemon.config import UplinkConfig
from gputally.daemon.keeper import WriterThread
from gputally.daemon.uplink import Uplink
from gputally.daemon.uplink_session import Pace
from gputally.proto.convert import encode_batch
from gputally.storage.wal import Entry, Log

from . import forks
from .gossip import Gossip
from .lives import free_port, serve
from .metered import Found, found_in_ledger, second
from .outcome import Outcome
from .weather import Link, Weather

PACE: Final = Pace(welcome_s=1.0, ack_s=1.0, goodbye_s=0.3, close_s=0.3, first_retry_s=0.02, longest_retry_s=0.2)
"""A twentieth of the deadlines that hosts have, or a thousand silent links would take half a day."""
_AT_ONCE: Final = 8
_CAP_BYTES: Final = 1 << 20
_CREDULOUS: Final = replace(PACE, welcome_s=math.inf, ack_s=math.inf)
_GIVE_UP_S: Final = 90.0
_GIVE_UP_CREDULOUS_S: Final = 5.0
"""Before gRPC's own look at an idle link, 15 s after its last word."""


def run(count: int, seed: int, *, credulous: bool = False) -> Outcome:
    """``count`` sequences, some at a time. ``credulous``: the control, a host that believes in every link for ever."""
    with TemporaryDirectory(prefix="gputally-network-") as folder:
        port = free_port()
        ready = forks.Promises()
        collector = forks.spawn(lambda: serve(Path(folder) / "ledger", f"127.0.0.1:{port}", ready))
        try:
            _wait_until_served(ready)
            return _run(Path(folder), count, seed, port, credulous)
        finally:
            forks.kill(collector)


def _wait_until_served(ready: forks.Promises) -> None:
    """Or every host would be stuck, and for no fault of the network."""
    deadline_s = time.monotonic() + _GIVE_UP_S
    while not ready[0]:
        if time.monotonic() > deadline_s:
            raise AssertionError("the collector does not start")
        time.sleep(0.01)


def longest_stuck_s(pace: Pace) -> float:
    """The longest that a stream on which nothing comes may go unnoticed, whatever its phase."""
    return max(pace.welcome_s, pace.ack_s, pace.goodbye_s) + pace.close_s


def _run(folder: Path, count: int, seed: int, port: int, credulous: bool) -> Outcome:
    logging.disable(logging.CRITICAL)
    outcome = Outcome("network sequence" if not credulous else "network sequence, no deadlines")
    gossip = Gossip(port, random.Random(seed))
    try:
        sequences = [Sequence(folder, f"host-{n}", seed + n, port, gossip, credulous) for n in range(count)]
        trio.run(_all, sequences)
    finally:
        gossip.stop()
    found = found_in_ledger(folder / "ledger")
    for sequence in sequences:
        sequence.judge(outcome, found.get(sequence.host_id, Found()))
    streams = sum(sequence.turns for sequence in sequences)
    told = ", ".join(f"{times} {how}" for how, times in gossip.told.items())
    outcome.note = f"{streams} changes of weather; acknowledgements: {told}"
    return outcome


async def _all(sequences: "list[Sequence]") -> None:
    few = trio.CapacityLimiter(_AT_ONCE)
    async with trio.open_nursery() as nursery:
        for sequence in sequences:
            await few.acquire_on_behalf_of(sequence.host_id)
            nursery.start_soon(_one, sequence, few)


async def _one(sequence: "Sequence", few: trio.CapacityLimiter) -> None:
    try:
        await sequence.play()
    finally:
        few.release_on_behalf_of(sequence.host_id)


@dataclass(slots=True)
class Sequence:
    """One host and its weather, drawn from the seed."""

    folder: Path
    host_id: str
    seed: int
    to_port: int
    gossip: Gossip
    credulous: bool
    written: int = 0
    turns: int = 0
    delivered: bool = False
    why: str = ""
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    async def play(self) -> None:
        self.chance = random.Random(self.seed)
        log = Log.open(self.folder / self.host_id, self.host_id, _CAP_BYTES)
        gossiping = self.chance.random() < 0.4
        link = Link(self.gossip.port if gossiping else self.to_port, self.chance)
        if gossiping:
            self.gossip.unfair[self.host_id] = self.chance.choice((0.1, 0.5, 0.9))
        try:
            async with link.open():
                await self._deliver(log, link)
        finally:
            log.close()

    async def _deliver(self, log: Log, link: Link) -> None:
        in_writer, pace = WriterThread(), _CREDULOUS if self.credulous else PACE
        settings = UplinkConfig(endpoints=(f"127.0.0.1:{link.port}",), insecure_plaintext=True, linger_s=0.2)
        uplink = Uplink(log, settings, self.host_id, "0.faults", in_writer, pace=pace)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(uplink.run)
            async with trio.open_nursery() as both:
                both.start_soon(self._write, log, uplink, in_writer)
                both.start_soon(self._change, link)
            self.gossip.unfair.pop(self.host_id, None)
            with trio.move_on_after(_GIVE_UP_CREDULOUS_S if self.credulous else _GIVE_UP_S):
                while log.stat().unacked_frames:
                    await trio.sleep(0.02)
            self.delivered, self.why = not log.stat().unacked_frames, str(uplink.status())
            nursery.cancel_scope.cancel()

    async def _write(self, log: Log, uplink: Uplink, in_writer: WriterThread) -> None:
        for _ in range(self.chance.randint(2, 12)):
            entries = [self._entry() for _ in range(self.chance.choice((1, 1, 5, 40)))]
            await in_writer(partial(log.append, entries, None))
            uplink.wake()
            await trio.sleep(self.chance.uniform(0, 0.4))

    def _entry(self) -> Entry:
        self.written += 1
        return Entry(1, encode_batch(second(self.host_id, self.written - 1)))

    async def _change(self, link: Link) -> None:
        for _ in range(self.chance.randint(1, 5)):
            self.turns += 1
            await link.turn(self.chance.choice(list(Weather)))
            await trio.sleep(self.chance.choice((0.05, 0.3, 1.5)) * self.chance.random())
        await link.turn(Weather.FAIR)

    def judge(self, outcome: Outcome, found: Found) -> None:
        missing = found.missing(self.written)
        why = f"seed {self.seed}: {missing} of {self.written} frames missing, {found.doubled} doubled; {self.why}"
        stuck = not self.delivered
        # What is still on the host's disk is not lost; that nobody brings it on is the harm.
        lost = missing if self.delivered else 0
        outcome.count(lost=lost, doubled=found.doubled, undeclared=stuck + found.tombstones, why=why)
