"""The collector's rules on this host: heard on a stream, checked, stored, and only then in force.

Until the first set has come those of daemon.toml decide. A set that is no good, or that cannot be stored, decides
nothing: the one before stays. However many a collector sends, the last of them is taken every few seconds at most.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from ..model.rule_text import MOST_VERSION_CHARACTERS, RuleText
from ..plugins.attribution.checks import warn_of_rules
from ..plugins.attribution.rule_body import read_rule_text
from ..plugins.attribution.rules import BadRules, RuleSet
from ..storage.rule_file import RuleFileUnusable, load_rule_file, save_rule_file
from .alarms import rfc3339
from .uplink_words import RulesHere

log = logging.getLogger(__name__)

PAUSE_S: Final = 5.0
"""Between two changes: each ends segments, and a collector that lies must not make thousands of them."""
_SAY_AGAIN_S: Final = 60.0
_LONGEST_WHY: Final = 500


@dataclass(frozen=True, slots=True)
class Stored:
    """A set in force, as text and as what decides."""

    text: RuleText
    rules: RuleSet


@dataclass(frozen=True, slots=True)
class _Refused:
    version: str
    why: str
    at_wall_ns: int


def load_stored(folder: Path) -> Stored | None:
    """What the collector said last; None where it never did, or where that is not to be read any more, which is said.

    ``folder``: that of the log.
    """
    try:
        text = load_rule_file(folder)
        return None if text is None else Stored(text, read_rule_text(text))
    except (RuleFileUnusable, BadRules) as error:
        log.error(
            "the collector's rules cannot be taken up again (%s): those of daemon.toml decide until it sends them",
            _shorten(error),
        )
        return None


class CollectorRules:
    """``hear`` and ``here`` may be called from any thread, all else from trio's."""

    def __init__(self, folder: Path, take: Callable[[RuleSet], None], stored: Stored | None) -> None:
        """``take`` puts rules in force; ``stored`` are already."""
        self._folder, self._take = folder, take
        self._in_force = None if stored is None else stored.text
        self._lock = threading.Lock()
        self._heard: RuleText | None = None
        self._heard_digest = b"" if stored is None else stored.text.digest
        self._refused: _Refused | None = None
        self._said_s = -_SAY_AGAIN_S
        self._token: trio.lowlevel.TrioToken | None = None
        self._news = trio.Event()

    def here(self) -> RulesHere:
        with self._lock:
            return RulesHere("" if self._in_force is None else self._in_force.version, self._heard_digest)

    def hear(self, text: RuleText) -> None:
        """Of several that come before one is taken, the last counts; none is larger than a message of gRPC may be."""
        with self._lock:
            digest = text.digest
            if digest == self._heard_digest:
                return
            self._heard, self._heard_digest = text, digest
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._ring, idempotent=True)

    async def run(self) -> None:
        """An actor: takes what was heard, for ever."""
        self._token = trio.lowlevel.current_trio_token()
        while True:
            with self._lock:
                text, self._heard = self._heard, None
            if text is None:
                await self._news.wait()
                self._news = trio.Event()
            else:
                await self._consider(text)
                await trio.sleep(PAUSE_S)

    def describe(self) -> dict[str, Any]:
        """For ``gputally status``. ``version`` None: those of daemon.toml decide."""
        refused = self._refused
        return {
            "version": None if self._in_force is None else self._in_force.version,
            "refused": None
            if refused is None
            else {"version": refused.version, "why": refused.why, "at": rfc3339(refused.at_wall_ns)},
        }

    async def _consider(self, text: RuleText) -> None:
        try:
            rules = await trio.to_thread.run_sync(_check_and_store, self._folder, text)
        except BadRules as bad:
            self._refuse(text, _shorten(bad))
        except RuleFileUnusable as unusable:
            self._refuse(text, str(unusable))
            with self._lock:
                if self._heard is None:
                    self._heard_digest = b""  # to be told again with the next stream
        else:
            self._put_in_force(text, rules)

    def _put_in_force(self, text: RuleText, rules: RuleSet) -> None:
        before = "those of daemon.toml" if self._in_force is None else self._in_force.version
        with self._lock:
            self._in_force = text
        self._refused = None
        self._take(rules)
        log.warning("the collector's rules %s decide from here on, no longer %s", text.version, before)
        warn_of_rules(rules)

    def _refuse(self, text: RuleText, why: str) -> None:
        self._refused = _Refused(text.version[:MOST_VERSION_CHARACTERS], why, time.time_ns())
        if time.monotonic() - self._said_s >= _SAY_AGAIN_S:
            self._said_s = time.monotonic()
            log.error("the collector's rules %r are refused, the former stay in force: %s", self._refused.version, why)

    def _ring(self) -> None:
        self._news.set()


def _check_and_store(folder: Path, text: RuleText) -> RuleSet:
    """Raises BadRules or RuleFileUnusable."""
    rules = read_rule_text(text)
    save_rule_file(folder, text)
    return rules


def _shorten(error: Exception) -> str:
    line = "; ".join(str(error).splitlines())
    return line if len(line) <= _LONGEST_WHY else line[:_LONGEST_WHY] + " ..."
