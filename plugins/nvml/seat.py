"""One child as the roster sees it, and how patient it is with all of them."""

from dataclasses import dataclass

_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what may take before somebody else is asked, and the pauses between tries."""

    init_ns: int = 30 * _S
    """nvmlInit: on a host where nothing keeps the driver awake it takes many seconds."""
    open_ns: int = 5 * _S
    """Taking one device's handle, which may have to wake the device."""
    spare_ns: int = 60 * _S
    """How long an idle child is kept in case the main one is late again."""
    retry_ns: int = 2 * _S
    retry_cap_ns: int = 10 * _S
    """Between tries on a host whose driver cannot be used."""
    renew_ns: int = 5 * _S
    renew_cap_ns: int = 60 * _S
    """Between looks for lost devices."""
    revive_ns: int = _S // 2
    revive_cap_ns: int = 30 * _S
    """Between starts of a child that keeps dying; the first death costs no pause."""
    proven_ns: int = 60 * _S
    """A child that lived this long did not die of its start."""


@dataclass(slots=True)
class Seat:
    """One child."""

    skip: frozenset[int]
    """Devices (by index) that it was started without and never opened."""
    born_ns: int
    asked_ns: int
    busy: bool = True
    overdue: bool = False
    """Let a whole deadline pass: no tick waits for it any more."""
    stuck: bool = False
    """Not relied upon until it answers."""
    suspect: int | None = None
    scout: bool = False
    leaving: bool = False
    sees: frozenset[int] = frozenset()
    """The devices it read well in its latest answer."""

    def outdoes(self, other: "Seat") -> bool:
        """It sees all that the other one sees, and more, or left out less at its start."""
        more = len(self.sees) > len(other.sees) or len(self.skip) < len(other.skip)
        return more and self.sees >= other.sees
