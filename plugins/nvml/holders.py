"""The processes of one device, as a row tells them."""

from ...model.reading import ProcessOnDevice


class HolderCache:
    """As they mostly are what they were, the tuple of the last tick is mostly given again."""

    __slots__ = ("_flat", "_holders")

    def __init__(self) -> None:
        self._flat: list[int | None] = []
        self._holders: tuple[ProcessOnDevice, ...] = ()

    def holders(self, flat: list[int | None]) -> tuple[ProcessOnDevice, ...]:
        """``flat``: pid, memory in bytes, per cent of the SMs; three each."""
        if flat != self._flat:
            triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
            self._holders = tuple(ProcessOnDevice(pid, used, sm) for pid, used, sm in triples if pid is not None)
            self._flat = flat
        return self._holders
