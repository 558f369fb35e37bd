"""A plug that fails costs its own answer, not the process."""

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


def guarded(plug: str, ask: Callable[P, T], *told: P.args, **named: P.kwargs) -> T | None:
    """What the plug answers; None, and a line in the log, where it fails."""
    try:
        return ask(*told, **named)
    except Exception as error:
        log.error("the plug %s failed and is asked again next time (%s: %s)", plug, type(error).__name__, error)
        log.debug("where it failed", exc_info=error)
        return None
