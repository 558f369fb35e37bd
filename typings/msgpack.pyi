"""Only what we use."""

from collections.abc import Callable
from typing import NamedTuple

class UnpackException(Exception): ...

class ExtType(NamedTuple):
    code: int
    data: bytes

def packb(o: object, *, use_bin_type: bool = True, default: Callable[[object], object] | None = None) -> bytes: ...
def unpackb(
    packed: bytes | memoryview,
    *,
    raw: bool = False,
    strict_map_key: bool = True,
    ext_hook: Callable[[int, bytes], object] = ...,
) -> object: ...

class Unpacker:
    def __init__(
        self, *, ext_hook: Callable[[int, bytes], object] = ..., strict_map_key: bool = ..., max_buffer_size: int = ...
    ) -> None: ...
    def feed(self, data: bytes) -> None: ...
    def skip(self) -> None: ...
    def tell(self) -> int: ...
