"""One line when a GPU cannot be read any more, and one when it is read again."""

import logging
from collections.abc import Callable, Sequence

from ...model.reading import DeviceGap, GapReason
from .partition import Seen

log = logging.getLogger(__name__)

_TOLD_ELSEWHERE = frozenset({GapReason.RELEASED, GapReason.DRIVER_MISSING, GapReason.DRIVER_RELOAD})
"""They are about all GPUs together."""


class GapLog:
    """Knows who was told to be dark."""

    def __init__(self) -> None:
        self._dark: dict[str, GapReason] = {}

    def tell(self, readings: Sequence[Seen], cause: Callable[[str], str | None]) -> None:
        """``cause``: in words, and nothing for what is no whole GPU; instances share their GPU's fate."""
        gaps = {one.device_id: one.reason for one in readings if isinstance(one, DeviceGap)}
        if not gaps and not self._dark:
            return
        back = [device_id for device_id in self._dark if device_id not in gaps]
        for device_id in back:
            del self._dark[device_id]
        if back:
            log.info("%s: read again", ", ".join(back))
        for device_id, reason in gaps.items():
            words = cause(device_id)
            if words is not None and reason not in _TOLD_ELSEWHERE and self._dark.get(device_id) is not reason:
                self._dark[device_id] = reason
                log.warning("%s: not read (%s)%s", device_id, reason, f": {words}" if words else "")
