"""What Xid codes mean, and each event once, though several children may tell of it.

The words are ours, after NVIDIA's catalog (docs.nvidia.com/deploy/xid-errors). In it are
those codes after which a GPU is not what it was; most others are faults of a program.
"""

import logging
from collections.abc import Mapping

from ...model.reading import Xid
from .replies import XidsTold

log = logging.getLogger(__name__)

MOST_WAITING = 256
"""Events between two readings. What is more says nothing new."""
QUIET_NS = 60_000_000_000
"""How long the same event of the same GPU is not logged again."""

FALLEN_OFF_THE_BUS = 79

_FATAL = {
    48: "double-bit ECC error",
    54: "auxiliary power is not connected",
    62: "the GPU's microcontroller halted",
    64: "a memory row could not be remapped",
    74: "NVLink error",
    FALLEN_OFF_THE_BUS: "the GPU has fallen off the bus",
    94: "contained ECC error: programs that used it were ended",
    95: "uncontained ECC error",
    119: "the GPU's system processor does not answer",
    120: "error of the GPU's system processor",
    140: "uncorrected ECC error",
    143: "the GPU could not be initialised",
    154: "the GPU needs another recovery than before",
}


def words(code: int) -> str:
    """For a log line."""
    return f"Xid {code}" + (f", {_FATAL[code]}" if code in _FATAL else "")


def is_fatal(code: int) -> bool:
    """Whether a gap that follows is most likely its doing."""
    return code in _FATAL


class Xids:
    """Events on their way into a reading."""

    def __init__(self) -> None:
        self._waiting: list[Xid] = []
        self._told: dict[tuple[str, int], tuple[int, int]] = {}
        """When, and by which child, by device and code."""
        self._fatal: dict[str, Xid] = {}
        self._logged_ns: dict[tuple[str, int], int] = {}

    def hear(self, told: XidsTold, ids: Mapping[int, str], child: int) -> None:
        """An event that another child has told since this one looked last is the same."""
        for index, code in zip(told.flat[::2], told.flat[1::2], strict=True):
            device_id = ids.get(index)
            if device_id is not None:
                self._hear(Xid(device_id, told.at_ns, code), told.since_ns, child)

    def take(self) -> tuple[Xid, ...]:
        """Those since the last reading."""
        taken, self._waiting = tuple(self._waiting), []
        return taken

    def blamed(self, device_id: str, since_ns: int) -> Xid | None:
        """The latest fatal one of a device after ``since_ns``: what its gap comes from."""
        xid = self._fatal.get(device_id)
        return xid if xid is not None and xid.at_ns > since_ns else None

    def _hear(self, xid: Xid, since_ns: int, child: int) -> None:
        at_ns, by = self._told.get((xid.device_id, xid.code), (0, child))
        if (by != child and at_ns > since_ns) or len(self._waiting) >= MOST_WAITING:
            return
        self._told[xid.device_id, xid.code] = xid.at_ns, child
        self._waiting.append(xid)
        self._log(xid)
        if is_fatal(xid.code):
            self._fatal[xid.device_id] = xid

    def _log(self, xid: Xid) -> None:
        key = xid.device_id, xid.code
        if xid.at_ns - self._logged_ns.get(key, -QUIET_NS) >= QUIET_NS:
            self._logged_ns[key] = xid.at_ns
            log.log(logging.WARNING if is_fatal(xid.code) else logging.INFO, "%s: %s", xid.device_id, words(xid.code))
