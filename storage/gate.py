"""Many may pass at once; who must be alone waits until all are through, and the others wait outside meanwhile."""

import threading
from collections.abc import Generator
from contextlib import contextmanager


class Gate:
    """Between those who read an environment and the one who closes it: an open transaction would outlive its map."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._shut = False

    @contextmanager
    def passing(self) -> Generator[None]:
        """Be brief, and do not pass twice at once: whoever shuts the gate in between would wait for ever."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def shut(self) -> Generator[None]:
        """Alone inside. One at a time may ask for this."""
        with self._changed:
            self._shut = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._shut = False
                self._changed.notify_all()
