"""Buffers for the driver's lists."""

from ctypes import byref, c_uint

from .binding import pynvml

FIRST_ROOM = 64
MAX_ROOM = 16384
"""Rows of a list. Far more contexts than a device can hold."""
GROWTHS = 4
"""How often in a row a list may turn out to be longer than it just was."""


class Lists:
    """A buffer that grows when the driver says that it has more."""

    __slots__ = ("_count", "_count_ref", "_kind", "_room", "buffer", "view")

    def __init__(self, kind: "type[pynvml.Structure] | type[c_uint]") -> None:
        self._kind = kind
        self._count = c_uint(0)
        self._count_ref = byref(self._count)
        self._make_room(FIRST_ROOM)

    def _make_room(self, room: int) -> None:
        # Twice what we admit to: drivers with longer rows write past what they were told of.
        self._room = room
        self.buffer = (self._kind * (room * 2))()
        self.view = memoryview(self.buffer).cast("B")

    def prepare(self) -> object:
        """The count to hand over: how much room there is. The driver writes how much it used."""
        self._count.value = self._room
        return self._count_ref

    @property
    def count(self) -> int:
        """How many the driver says it wrote. It cannot have written more than there was room for."""
        return min(self._count.value, self._room)

    def grow(self) -> bool:
        """After INSUFFICIENT_SIZE: room for what the driver announced, and as much again. False: enough."""
        wanted = max(self._count.value, self._room) * 2
        if self._room >= MAX_ROOM:
            return False
        self._make_room(min(wanted, MAX_ROOM))
        return True
