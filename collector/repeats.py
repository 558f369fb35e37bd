"""What is logged once and not at each attempt: a host that is refused comes back every few seconds."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_SAY_AGAIN_S: Final = 3600.0
_MOST_SPEAKERS: Final = 10_000
"""Of those beyond, the longest silent is forgotten; it is said again then, which does no harm."""


class Repeats:
    """For one thread. ``clock_s``: any clock that goes forward."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._said: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def is_news(self, about: str, what: str) -> bool:
        """Whether this is another thing than was last said about them, or an hour has passed since it was."""
        before, said_s = self._said.get(about, ("", 0.0))
        now_s = self._clock_s()
        if about in self._said and before == what and now_s - said_s < _SAY_AGAIN_S:
            return False
        self._said[about] = what, now_s
        self._said.move_to_end(about)
        while len(self._said) > _MOST_SPEAKERS:
            self._said.popitem(last=False)
        return True

    def over(self, about: str) -> bool:
        """What was last said about them is true no more: it is news if it comes again. Whether anything was said."""
        return self._said.pop(about, None) is not None
