"""A word to stop that comes before the service listens for it.

It is only noted: raised as an exception it would be lost in a callback of the interpreter's, where exceptions are
ignored (https://docs.python.org/3/library/signal.html#handlers-and-exceptions), or come out of an import as another.
The service asks here once it listens itself.
"""

import signal
from dataclasses import dataclass


@dataclass(slots=True)
class EarlyStop:
    asked: bool = False

    def listen(self) -> None:
        """Instead of the end by the signal, from here on. For the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.asked = True


EARLY_STOP = EarlyStop()
"""Of this process."""
