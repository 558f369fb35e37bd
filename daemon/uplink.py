"""The uplink: brings what is in the log to a collector, and is quiet when there is nothing to bring.

An open but idle stream would wake the host's cores thirty times a second, so it
lingers for a while after its last acknowledgement, says goodbye and closes; new
frames open it again. Whatever goes wrong, frames stay on disk and the uplink tries
again, with full jitter and over the endpoints in order. After a fork the log goes on
in a new epoch. Two things end all that: forks without end, which only a person can
judge, and a log that cannot be read (LogBroken).

trio watches from outside; the stream itself lives in threads (uplink_stream.py).
"""

import contextlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import grpc
import trio

from ..plugins.tls_watch import BadCredentials
from ..storage.wal import Buried, Log, LogBroken, LogStat
from .config import UplinkConfig
from .keeper import InWriter
from .replay_events import Acknowledge, Bury, Fork, Opened, TakeBack
from .uplink_channel import Trouble, open_channel
from .uplink_credentials import LOOK_EVERY_S, Credentials
from .uplink_retry import Backoff, Endpoints
from .uplink_session import Alarm, Pace, Session
from .uplink_status import Situation, State, UplinkAlarm, UplinkStatus
from .uplink_stream import Stream
from .uplink_talk import Progress
from .uplink_words import RuleListener, hello

log = logging.getLogger(__name__)
_LONGEST_REST_IN_A_DRAIN_S: Final = 0.5
_AN_HOUR_S: Final = 3600.0
MOST_EPOCHS_AN_HOUR: Final = 3
"""Begun because of forks. After that the uplink stops until the daemon is started again."""
_BURIED: Final = {
    Buried.KEPT: "and is kept aside",
    Buried.NOT_KEPT: "and is NOT kept aside: there is no room for it, or it was trimmed already",
    Buried.AGAIN: "again",
}


class Uplink:
    """An actor: one life of ``run`` at a time. All methods are called from trio's thread."""

    def __init__(
        self,
        log: Log,
        settings: UplinkConfig,
        host_id: str,
        version: str,
        in_writer: InWriter,
        on_ack: Callable[[int], None] | None = None,
        *,
        rules: RuleListener | None = None,
        pace: Pace | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """``in_writer`` runs work in the log's writer thread; ``on_ack`` hears what is durably acknowledged there.

        ``rules``: who hears the collector's; None: they are not wanted here.
        """
        self._log, self._settings, self._host_id, self._version = log, settings, host_id, version
        self._in_writer, self._on_ack, self._rules = in_writer, on_ack, rules
        self._pace = pace or Pace()
        self._backoff = Backoff(self._pace.first_retry_s, self._pace.longest_retry_s, rng or random.Random())
        self._endpoints = Endpoints(settings.endpoints)
        self._endpoint = next(iter(settings.endpoints), None)
        self._situation = Situation(self._endpoint)
        self.credentials = Credentials(settings)
        self._opened_with = 0
        self._epoch: bytes | None = None
        """That the latest stream is about."""
        self._parted_s: deque[float] = deque()
        self._alarm = Alarm()
        self._grown = False
        self._drain_asked = trio.Event()
        self._stopped = trio.Event()

    async def run(self) -> None:
        """Until ``drain`` has brought everything out. Raises LogBroken; anything else is tried again for ever."""
        while True:
            self._grown = False
            stat = await trio.to_thread.run_sync(self._log.stat)
            if stat.unacked_frames and self._may_try:
                await self._deliver(stat)
            elif self._drain_asked.is_set():
                self._stopped.set()
                return
            else:
                await self._alarm.wait()

    async def watch_credentials(self, every_s: float = LOOK_EVERY_S) -> None:
        """An actor beside ``run``: changed TLS files are taken up by a stream that is open, and expiry is told."""
        while True:
            with contextlib.suppress(BadCredentials):  # said by whoever wants to connect
                await trio.to_thread.run_sync(self.credentials.look)
            if self.outdated:
                self._alarm.ring()
            await trio.sleep(every_s)

    @property
    def outdated(self) -> bool:
        """Whether other TLS files, or another epoch, are in force than those that the stream was opened with."""
        return self.credentials.number != self._opened_with or self._is_renewed

    def wake(self) -> None:
        """The log has grown."""
        self._grown = True
        self._alarm.ring()

    async def drain(self, deadline_s: float) -> bool:
        """Brings out what is in the log and says goodbye; whether everything was acknowledged in time.

        Of a log that cannot be read nobody can say so.
        """
        self._drain_asked.set()
        self._alarm.ring()
        with trio.move_on_after(deadline_s):
            await self._stopped.wait()
        try:
            stat = await trio.to_thread.run_sync(self._log.stat)
        except LogBroken as broken:
            log.error("whether everything was delivered cannot be told: %s", broken)
            return False
        return self._stopped.is_set() and not stat.unacked_frames

    def status(self) -> UplinkStatus:
        return self._situation.status()

    @property
    def alarm(self) -> UplinkAlarm | None:
        return self._situation.alarm

    @property
    def linger_s(self) -> float:
        """None at all while draining."""
        return 0.0 if self._drain_asked.is_set() else self._settings.linger_s

    async def grown(self) -> int | None:
        """The newest seq, if the log has grown since this was last asked, and is the one that the stream is about."""
        if not self._grown:
            return None
        self._grown = False
        stat = await trio.to_thread.run_sync(self._log.stat)
        return stat.last_seq if stat.epoch == self._epoch else None

    async def keep(self, orders: list[Acknowledge | Bury], epoch: bytes) -> None:
        """Commits what the collector has answered. The pause lets the answers of a busy stream gather."""
        news = [order for order in orders if await self._in_writer(partial(self._commit, order, epoch))]
        if news:
            # Not for what each Welcome says again: a collector that does no more than that is failing.
            self._backoff.reset()
            self._situation.acknowledged()
            last = news[-1]
            if self._on_ack is not None:
                self._on_ack(last.through_seq if isinstance(last, Acknowledge) else last.seq)
        if orders:
            await trio.sleep(self._pace.between_commits_s)

    def look(self, progress: Progress) -> None:
        if progress.welcomed and self._endpoint and not progress.over and self._situation.state is State.CONNECTING:
            self._situation.streaming(self._endpoint)

    @property
    def _may_try(self) -> bool:
        return bool(self._settings.endpoints) and self._situation.state is not State.FORKED

    @property
    def _is_renewed(self) -> bool:
        """Whether the log was begun anew since the latest stream was opened."""
        return self._epoch is not None and self._log.epoch != self._epoch

    async def _deliver(self, stat: LogStat) -> None:
        """One stream, and the rest after it if it failed."""
        self._epoch = stat.epoch
        self._endpoint = endpoint = self._endpoints.pick(time.monotonic())
        self._situation.connecting(endpoint)
        match await self._converse(endpoint, stat):
            case Fork() as fork:
                await self._part(endpoint, fork, stat.epoch)
            case Trouble() as trouble:
                self._endpoints.failed(endpoint, time.monotonic())
                self._situation.failed(endpoint, trouble)
                await self._rest()
            case None:
                self._situation.quiet()

    async def _part(self, endpoint: str, fork: Fork, epoch: bytes) -> None:
        """What is not acknowledged goes on in a new epoch. Not for ever: a collector that lies must not renew us."""
        now_s = time.monotonic()
        while self._parted_s and now_s - self._parted_s[0] > _AN_HOUR_S:
            self._parted_s.popleft()
        if len(self._parted_s) >= MOST_EPOCHS_AN_HOUR:
            self._situation.forked(endpoint, fork.why, epoch, None)
            return
        self._parted_s.append(now_s)
        await self._in_writer(partial(self._begin_epoch_after, epoch))
        self._situation.forked(endpoint, fork.why, epoch, self._log.epoch)
        await self._rest()

    async def _converse(self, endpoint: str, stat: LogStat) -> Fork | Trouble | None:
        """None: everything the log had is acknowledged."""
        try:
            channel = await trio.to_thread.run_sync(self._open, endpoint)
        except BadCredentials as bad:
            return Trouble(str(bad))
        token = trio.lowlevel.current_trio_token()
        stream = Stream(
            self._log,
            hello(stat, self._host_id, self._version, None if self._rules is None else self._rules.here()),
            Opened(stat.acked_seq, stat.last_seq),
            poke=partial(_ring, token, self._alarm),
            take_back=lambda order: trio.from_thread.run(self._take_back, order, stat.epoch, trio_token=token),
            take_rules=self._rules.hear if self._rules else lambda _: None,
        )
        try:
            threading.Thread(target=stream.run, args=(channel,), name="uplink", daemon=True).start()
            progress = await Session(stream, self, self._alarm, self._pace).watch()
        finally:
            # In this order: a channel with a live call on it may take seconds to close.
            stream.cancel()
            await self._close(channel)
        if stream.broken is not None:
            raise stream.broken
        return await self._judge(progress)

    async def _judge(self, progress: Progress) -> Fork | Trouble | None:
        if self._is_renewed:
            return None  # whatever was said was said of a log that is no more: it is opened again at once
        if progress.fork is not None:
            return progress.fork
        if progress.welcomed and (progress.all_acknowledged or (self.outdated and progress.trouble is None)):
            return None  # left with frames unsaid for the sake of new files, it is opened again at once
        trouble = progress.trouble or Trouble("the collector ended the stream")
        if progress.welcomed or trouble.refused:
            return trouble
        # gRPC says little about why a handshake failed; our own files may say more.
        own = await trio.to_thread.run_sync(self.credentials.trouble)
        return Trouble(own) if own else trouble

    def _open(self, endpoint: str) -> grpc.Channel:
        """Reads files: not for the event loop. Raises BadCredentials."""
        identity = self.credentials.current()
        self._opened_with = 0 if identity is None else identity.number
        return open_channel(endpoint, identity, self._settings.collector_name)

    async def _take_back(self, order: TakeBack, epoch: bytes) -> None:
        if order.missing is None:
            log.warning(
                "the collector has frames only through %d: its ledger was restored; what it lost is sent again",
                order.through_seq,
            )
        else:
            self._situation.missing(*order.missing)
        await self._in_writer(partial(self._log.take_back, order.through_seq, epoch))

    def _begin_epoch_after(self, epoch: bytes) -> None:
        """In the writer's thread: unless the log has left it already."""
        if self._log.epoch == epoch:
            self._log.begin_epoch("fork")

    def _commit(self, order: Acknowledge | Bury, epoch: bytes) -> bool:
        """In the writer's thread. Whether it has changed anything."""
        if isinstance(order, Acknowledge):
            return self._log.acknowledge(order.through_seq, time.time_ns(), epoch)
        buried = self._log.bury(order.seq, order.reason, time.time_ns(), epoch)
        if buried in _BURIED:
            log.error("frame %d was refused by the collector (%s) %s", order.seq, order.reason, _BURIED[buried])
        return buried is not Buried.KNOWN

    async def _rest(self) -> None:
        delay_s = self._backoff.next_s()
        if self._drain_asked.is_set():
            await trio.sleep(min(delay_s, _LONGEST_REST_IN_A_DRAIN_S))
        else:
            with trio.move_on_after(delay_s):
                await self._drain_asked.wait()

    async def _close(self, channel: grpc.Channel) -> None:
        with trio.move_on_after(self._pace.close_s, shield=True):
            # A limiter of its own: a thread that hangs here must not take one from anybody else.
            limiter = trio.CapacityLimiter(1)
            await trio.to_thread.run_sync(channel.close, abandon_on_cancel=True, limiter=limiter)


def _ring(token: trio.lowlevel.TrioToken, alarm: Alarm) -> None:
    """From any thread; of many rings before trio gets to it, one is left."""
    with contextlib.suppress(trio.RunFinishedError):
        token.run_sync_soon(alarm.ring, idempotent=True)
