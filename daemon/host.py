"""Which host this is, and which boot of it."""

from hashlib import sha256
from pathlib import Path

from ..model.settings import BadSettings, Problem

MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = "sys/kernel/random/boot_id"


def derive_host_id(machine_id: Path = MACHINE_ID) -> str:
    """A stable name for this host: a hash, for the machine id itself should not leave it (see machine-id(5)).

    Raises BadSettings where there is none.
    """
    try:
        told = machine_id.read_text().strip()
    except OSError as error:
        raise _refused("host.id", f"is not set and {machine_id} cannot be read ({error.strerror}): set it") from None
    if not told:
        raise _refused("host.id", f"is not set and {machine_id} is empty: set it")
    return sha256(b"gputally host id " + told.encode()).hexdigest()[:32]


def read_boot_id(proc: str) -> str:
    """The kernel's name for this boot. Raises BadSettings where procfs does not show it."""
    path = Path(proc) / BOOT_ID
    try:
        return path.read_text().strip()
    except OSError as error:
        why = f"has no readable {BOOT_ID} ({error.strerror}); systemd's ProcSubset=pid would hide it"
        raise _refused("attribution.proc", f"{proc} {why}") from None


def _refused(key: str, what: str) -> BadSettings:
    return BadSettings([Problem("", key, what)])
