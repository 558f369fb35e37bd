"""What is on the wire, within what the collector has room for."""

from collections import deque
from dataclasses import dataclass, field

from .replay_events import Said


@dataclass(slots=True)
class Window:
    """Frames that were said and not yet acknowledged, oldest first; at most so many and so large.

    With nothing else on the wire one frame may go whatever its size, or a window that is smaller than a frame
    would never let it pass.
    """

    most_frames: int = 0
    most_bytes: int = 0
    used_bytes: int = 0
    _said: deque[Said] = field(default_factory=deque[Said])

    def open(self, frames: int, size_bytes: int) -> None:
        """As large as the collector says; for one frame at least."""
        self.most_frames, self.most_bytes = max(frames, 1), size_bytes

    def clear(self) -> None:
        self._said.clear()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._said)

    @property
    def is_half_used(self) -> bool:
        return 2 * len(self._said) >= self.most_frames or 2 * self.used_bytes >= self.most_bytes

    @property
    def free_frames(self) -> int:
        """How many more may go, for all that their bytes say."""
        return self.most_frames - len(self._said) if self.free_bytes or not self._said else 0

    @property
    def free_bytes(self) -> int:
        return max(self.most_bytes - self.used_bytes, 0)

    @property
    def oldest(self) -> Said | None:
        return self._said[0] if self._said else None

    @property
    def newest(self) -> Said | None:
        return self._said[-1] if self._said else None

    def fits(self, size_bytes: int) -> bool:
        """Whether one more frame may go."""
        if not self._said:
            return True
        return len(self._said) < self.most_frames and self.used_bytes + size_bytes <= self.most_bytes

    def add(self, said: Said) -> None:
        self._said.append(said)
        self.used_bytes += said.size_bytes

    def settle(self, through_seq: int) -> bool:
        """Takes away what is through. Of a Skip only the whole counts. Whether there was anything."""
        before = len(self._said)
        while self._said and self._said[0].seq <= through_seq:
            self.used_bytes -= self._said.popleft().size_bytes
        return len(self._said) < before

    def unsay(self, from_seq: int) -> bool:
        """Takes away what did not arrive, newest first. Whether there was anything."""
        before = len(self._said)
        while self._said and self._said[-1].seq >= from_seq:
            self.used_bytes -= self._said.pop().size_bytes
        return len(self._said) < before
