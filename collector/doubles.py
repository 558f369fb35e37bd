"""Signs that two daemons run under one host's id: a machine that was cloned, or an image with an id in it.

One after the other is let in, so nothing of it need be an error by itself; together it shows. Three signs: a stream
was refused because the other's was live; a frame did not follow from what is committed; and an epoch came back
after another one, which a single daemon's never does, as what an epoch has left over goes on in the next.
"""

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from .repeats import Repeats

_log = logging.getLogger(__name__)
_MOST_HOSTS: Final = 20_000
"""Of those beyond, the one not heard of for longest is forgotten."""
_MOST_EPOCHS: Final = 4


@dataclass(slots=True)
class Signs:
    """Of one host, since the collector started."""

    host_id_in_use: int = 0
    forks_refused: int = 0
    epochs_returned: int = 0
    last_at_ns: int | None = None
    """Wall clock; None: there was none."""
    epochs: list[bytes] = field(default_factory=list[bytes])
    """The last that it spoke of, the newest at the end."""


class Doubles:
    """Written by the event loop; ``of`` may be asked by any thread."""

    def __init__(self, repeats: Repeats | None = None) -> None:
        self._hosts: OrderedDict[str, Signs] = OrderedDict()
        self._repeats = repeats or Repeats()

    def of(self, host_id: str) -> Signs:
        return self._hosts.get(host_id) or Signs()

    def opened(self, host_id: str, epoch: bytes) -> None:
        """A stream was let in."""
        signs = self._signs(host_id)
        if signs.epochs and signs.epochs[-1] == epoch:
            return
        if epoch in signs.epochs:
            signs.epochs.remove(epoch)
            signs.epochs_returned += 1
            self._note(host_id, signs)
        signs.epochs = [*signs.epochs, epoch][-_MOST_EPOCHS:]

    def in_use(self, host_id: str) -> None:
        """A stream was refused, for there is another."""
        signs = self._signs(host_id)
        signs.host_id_in_use += 1
        self._note(host_id, signs)

    def forked(self, host_id: str) -> None:
        """A frame was refused, for another is committed in its place."""
        signs = self._signs(host_id)
        signs.forks_refused += 1
        self._note(host_id, signs)

    def _signs(self, host_id: str) -> Signs:
        signs = self._hosts.setdefault(host_id, Signs())
        self._hosts.move_to_end(host_id)
        while len(self._hosts) > _MOST_HOSTS:
            self._hosts.popitem(last=False)
        return signs

    def _note(self, host_id: str, signs: Signs) -> None:
        signs.last_at_ns = time.time_ns()
        if self._repeats.is_news(host_id, "doubled"):
            _log.critical(
                "ALARM two daemons may run under the host id %s: refused %d times while the other was there, "
                "%d frames that contradict the ledger, an epoch back after another %d times; see /v1/hosts and "
                "docs/operations.md, A cloned host",
                host_id,
                signs.host_id_in_use,
                signs.forks_refused,
                signs.epochs_returned,
            )
