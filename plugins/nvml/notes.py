"""What children note of devices, in words for the operator, each once."""

import logging
from collections.abc import Sequence

from .replies import Told

log = logging.getLogger(__name__)

_WORDS = {
    "old_memory": (
        logging.WARNING,
        "memory in use is told with what the driver reserves for itself (a driver before 510)",
    ),
    "accounting": (logging.INFO, "accounting mode was off and is switched on now (sampling.accounting)"),
    "accounting_refused": (
        logging.WARNING,
        "accounting mode is off and cannot be switched on (sampling.accounting): only root may, "
        "with `nvidia-smi --accounting-mode=1`; short-lived processes are found by their samples alone",
    ),
}


class Notes:
    """Says each thing once for each device."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def hear(self, devices: Sequence[Told]) -> None:
        """In one line for all devices that are alike."""
        for note, (level, words) in _WORDS.items():
            new = sorted(d.uuid for d in devices if d.uuid and note in d.notes and (note, d.uuid) not in self._said)
            if new:
                self._said.update((note, uuid) for uuid in new)
                log.log(level, "%s: %s", ", ".join(new), words)
