"""The facts of one device: what it refused for good is not asked for again."""

from collections.abc import Callable

from . import errors
from .binding import Handle

Ask = Callable[[Handle], tuple[int, int]]
"""Gives NVML's code and, if that is 0, a value."""


class UnreadableError(Exception):
    """The device gives no reading this time; ``code`` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(errors.words(code))
        self.code = code


class Facts:
    """What became of each fact of one device (or MIG instance) when it was asked for."""

    __slots__ = ("handle", "learned", "refused")

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.refused: dict[int, int] = {}
        """What was refused for good, with NVML's code."""
        self.learned = True
        """Something was refused that was not before, or nothing is known yet: the device may be in another mode."""

    def learn(self, fact: int, code: int) -> None:
        """Raises UnreadableError if the code says that nothing else will be answered either."""
        if code in errors.PERMANENTS:
            self.refused[fact] = code
            self.learned = True
        elif errors.condemns_device(code):
            raise UnreadableError(code)

    def forget(self) -> None:
        """What was refused may be asked for again."""
        self.refused = {}

    def value(self, fact: int, ask: Ask) -> int | None:
        """None where the driver does not say: that alone is no gap, unless the device is lost (UnreadableError)."""
        if fact in self.refused:
            return None
        code, value = ask(self.handle)
        if code:
            self.learn(fact, code)
            return None
        return value
