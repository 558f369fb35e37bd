"""What reads or writes the log is begun again after an error of the disk, with the log opened anew."""

import logging
from collections.abc import Awaitable, Callable

import trio

from ..storage.wal import LogBroken

log = logging.getLogger(__name__)

FIRST_REST_S, LONGEST_REST_S = 1.0, 30.0
QUIET_S = 300.0
"""After so long without an error the next one is the first again."""


async def mending(life: Callable[[], Awaitable[None]], reopen: Callable[[], Awaitable[None]]) -> None:
    """Runs ``life`` until it returns; after LogBroken it rests, reopens the log and begins another.

    There is no budget: a disk may be away for hours, and metering goes on without it.
    """
    rest_s, said = FIRST_REST_S, ""
    while True:
        began_s = trio.current_time()
        try:
            await life()
        except LogBroken as broken:
            if trio.current_time() - began_s > QUIET_S:
                rest_s, said = FIRST_REST_S, ""
            if str(broken) != said:
                log.error("%s; it is tried again", broken)
                said = str(broken)
        else:
            return
        await trio.sleep(rest_s)
        rest_s = min(rest_s * 2, LONGEST_REST_S)
        try:
            await reopen()
        except LogBroken as still:
            log.debug("%s", still)
