"""How many open files attribution may hold: what it takes, the rest of the daemon cannot have."""

import logging
import os
import resource
from typing import Final

_log = logging.getLogger(__name__)

_SHARE_FOR_OTHERS: Final = 4
"""One descriptor in so many is left to the rest of the daemon: its log, its sockets, its child."""


def raise_descriptor_limit() -> int:
    """Takes the soft limit of open files to the hard one; returns how many this part may hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (OSError, ValueError) as error:
        _log.warning("RLIMIT_NOFILE stays at %d: %s", soft, error)
    most = 1 << 20 if soft == resource.RLIM_INFINITY else soft
    return most - most // _SHARE_FOR_OTHERS


class Descriptors:
    """A budget of descriptors. Those kept beyond it would starve the rest of the daemon."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def keep(self, descriptor: int, *, spare: bool = False) -> int | None:
        """Takes a descriptor over; closes it and answers None where the budget is spent.

        ``spare`` ones only save time, and leave the second half to those that tell of exits.
        """
        if self.held >= (self._most // 2 if spare else self._most):
            os.close(descriptor)
            return None
        self.held += 1
        return descriptor

    def drop(self, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
            self.held -= 1
