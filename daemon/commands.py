"""What may be asked of a running daemon, beyond how it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from .control import Command, Outcome, Told
from .metering import Metering, Retired
from .orders import Orders

RELEASE_WITHIN_S = 10.0
LONGEST_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Commands:
    orders: Orders
    metering: Metering

    def by_name(self) -> Mapping[str, Command]:
        return {"release": self.release, "resume": self.resume, "retire": self.retire}

    async def release(self, told: Told) -> tuple[Outcome, str]:
        """``within_s``: how long to wait for it; the order stands however that ends."""
        within_s = _seconds(told.get("within_s", RELEASE_WITHIN_S))
        if within_s is None:
            return Outcome.BAD, f"within_s must be a number from 0 to {LONGEST_WITHIN_S:g}"
        self.orders.release()
        free = False
        with trio.move_on_after(within_s) as waited:
            free = await self.orders.released()
        if free:
            return Outcome.DONE, "the driver is let go of: nothing of the daemon has a GPU open"
        if waited.cancelled_caught:
            return Outcome.NOT_YET, f"after {within_s:g} s a process that hangs in the driver still has it open"
        return Outcome.NOT_YET, "told meanwhile to take the driver up again"

    async def resume(self, _: Told) -> tuple[Outcome, str]:
        self.orders.resume()
        return Outcome.DONE, "the driver is taken up again"

    async def retire(self, told: Told) -> tuple[Outcome, str]:
        """``device``: an id, with or without its vendor. An operator's word that it will not come back."""
        device = told.get("device")
        if not isinstance(device, str):
            return Outcome.BAD, "device must be the id of a device"
        self.orders.look()  # whether it is gone is asked of a reading that comes now
        outcome, words = _RETIRED[await self.metering.retire(device)]
        return outcome, f"{device} {words}"


_RETIRED = {
    Retired.DONE: (Outcome.DONE, "is retired: its time ends here"),
    Retired.UNKNOWN: (Outcome.UNKNOWN, "is no device of this host; gputally status lists them"),
    Retired.ALIVE: (Outcome.REFUSED, "can be read at this moment: it is not gone"),
}


def _seconds(told: Any) -> float | None:
    if isinstance(told, bool) or not isinstance(told, int | float):
        return None
    return float(told) if math.isfinite(told) and 0 <= told <= LONGEST_WITHIN_S else None
