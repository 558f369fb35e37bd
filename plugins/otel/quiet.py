"""The SDK tells of a receiver that is away at every attempt, several times. Once in a while is enough."""

import logging
from typing import Final

SAY_EVERY_S: Final = 600
_LIBRARY: Final = "opentelemetry."


class Seldom(logging.Filter):
    """Lets one record pass, then none for a while, and never a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created < self._quiet_until_s:
            return False
        self._quiet_until_s = record.created + SAY_EVERY_S
        record.exc_info = record.exc_text = None
        return True


def quieten() -> None:
    """Gives each logger of the library that exists by now a filter; one that has it keeps it."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith(_LIBRARY)]
    for logger in map(logging.getLogger, names):
        if not any(isinstance(each, Seldom) for each in logger.filters):
            logger.addFilter(Seldom())
