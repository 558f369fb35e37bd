"""What the uplink shows of itself, and the few lines it logs: on a change, not on each attempt."""

import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .uplink_channel import Trouble

log = logging.getLogger(__name__)
_SAY_AGAIN_S: Final = 3600.0


class State(StrEnum):
    """Where the uplink is."""

    QUIET = "quiet"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    BACKOFF = "backoff"
    FORKED = "forked"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LastFork:
    """That a ledger and this log told different stories, and in which epoch the log goes on, if it does."""

    at_wall_ns: int
    why: str
    epoch: str
    next_epoch: str | None


@dataclass(frozen=True, slots=True)
class UplinkStatus:
    """As in ``gputally status --json``. ``last_error`` is empty again with the next acknowledgement.

    ``forks``: since the daemon started. The log itself keeps them: the first frame of each epoch names the one
    before it, and that lies in quarantine.
    """

    state: State
    endpoint: str | None
    last_ack_age_s: float | None
    last_error: str | None
    forks: int = 0
    last_fork: LastFork | None = None


@dataclass(frozen=True, slots=True)
class UplinkAlarm:
    """What waiting does not mend: a collector refuses this host, or its ledger tells another story than the log."""

    kind: str
    """uplink_refused, uplink_forked"""
    since_wall_ns: int
    why: str


class Situation:
    """The uplink's state, and what was last said about each endpoint."""

    def __init__(self, endpoint: str | None) -> None:
        self.state = State.QUIET
        self._endpoint = endpoint
        self._acked_s: float | None = None
        self._last_error: str | None = None
        self._said: dict[str, tuple[str, float]] = {}
        self._streamed_to: str | None = None
        self._forks = 0
        self._last_fork: LastFork | None = None
        self.alarm: UplinkAlarm | None = None
        """Stands until something new is acknowledged."""

    def status(self) -> UplinkStatus:
        age_s = None if self._acked_s is None else round(time.monotonic() - self._acked_s, 3)
        return UplinkStatus(self.state, self._endpoint, age_s, self._last_error, self._forks, self._last_fork)

    def connecting(self, endpoint: str) -> None:
        self.state, self._endpoint = State.CONNECTING, endpoint

    def streaming(self, endpoint: str) -> None:
        self.state = State.STREAMING
        # Where a stream is opened and nothing is acknowledged on it, as with a full disk there, nothing has changed.
        if self._streamed_to != endpoint and endpoint not in self._said:
            log.info("streaming to %s", endpoint)
        self._streamed_to = endpoint

    def acknowledged(self) -> None:
        self._acked_s = time.monotonic()
        self._last_error = self.alarm = None
        if self._endpoint is not None and self._said.pop(self._endpoint, None) is not None:
            log.info("streaming to %s", self._endpoint)
            self._streamed_to = self._endpoint

    def quiet(self) -> None:
        self.state = State.QUIET

    def failed(self, endpoint: str, trouble: Trouble) -> None:
        """One line for each endpoint and cause; the same cause again after an hour."""
        self.state = State.REFUSED if trouble.refused else State.BACKOFF
        self._last_error = f"{endpoint}: {trouble.why}"
        if trouble.refused:
            self._raise("uplink_refused", self._last_error)
        why, said_s = self._said.get(endpoint, ("", 0.0))
        if why != trouble.why or time.monotonic() - said_s > _SAY_AGAIN_S:
            log.warning("no stream to %s: %s; frames wait on disk and are tried again", endpoint, trouble.why)
            self._said[endpoint] = (trouble.why, time.monotonic())

    def missing(self, first_seq: int, last_seq: int) -> None:
        """The ledger was restored from before what is held here: that time is in nobody's books any more."""
        log.critical(
            "the ledger was restored from before what this log still holds: frames %d to %d are gone on both sides. "
            "The ledger is told so (a Skip, trimmed), and the rest is sent again; restore it from a later backup if "
            "there is one, and see log.keep_acked_h",
            first_seq,
            last_seq,
        )

    def forked(self, endpoint: str, why: str, epoch: bytes, next_epoch: bytes | None) -> None:
        """``next_epoch`` None: it happens too often, and a person must look before anything more is said."""
        self._forks += 1
        self._last_fork = LastFork(time.time_ns(), why, epoch.hex(), None if next_epoch is None else next_epoch.hex())
        self._last_error = f"{endpoint}: {why}"
        self.state = State.FORKED if next_epoch is None else State.BACKOFF
        if next_epoch is None:
            self._raise("uplink_forked", self._last_error)
        what = (
            "Nothing more is sent or trimmed"
            if next_epoch is None
            else f"What it has not acknowledged goes on in epoch {next_epoch.hex()}; the log as it is, epoch "
            f"{epoch.hex()}, is kept in quarantine"
        )
        log.critical(
            "the ledger behind %s and this host's log tell different stories: %s. %s; find out which of the two was "
            "replaced",
            endpoint,
            why,
            what,
        )

    def _raise(self, kind: str, why: str) -> None:
        """``since`` stays while the kind does, whatever else the collector says meanwhile."""
        since_ns = self.alarm.since_wall_ns if self.alarm and self.alarm.kind == kind else time.time_ns()
        self.alarm = UplinkAlarm(kind, since_ns, why)
