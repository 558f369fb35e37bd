"""A simulated host's log: frames are made when they are wanted, and kept until they are acknowledged."""

import os
from collections import deque

from ...storage.frame import EPOCH_BYTES, Frame
from .frames import frames_of
from .plan import FleetPlan


class HostLog:
    """Holds no more than what is on the wire, and one frame that was made ahead."""

    def __init__(self, plan: FleetPlan, host: int) -> None:
        self.host_id = plan.host_id(host)
        self.epoch = os.urandom(EPOCH_BYTES)
        self.acked_seq = 0
        self._frames = frames_of(plan, host, self.epoch)
        self._ready: Frame | None = None
        self._ready_seq = 0
        self._on_wire: deque[Frame] = deque()
        self._again: deque[Frame] = deque()

    @property
    def on_wire_frames(self) -> int:
        return len(self._on_wire)

    @property
    def is_in_doubt(self) -> bool:
        """Something was said of which nobody told us what became of it."""
        return bool(self._on_wire or self._again)

    def prepare(self) -> None:
        """Makes the next frame: on a real host its own processor does, before anybody waits for it."""
        if self._ready is None:
            self._ready = next(self._frames, None)
            self._ready_seq += self._ready is not None

    def take(self, through_seq: int) -> Frame | None:
        """The next to be said, up to this seq; None if there is none."""
        if self._again:
            self._on_wire.append(self._again.popleft())
            return self._on_wire[-1]
        self.prepare()
        frame = self._ready
        if frame is None or frame.seq > through_seq:
            return None
        self._ready = None
        self._on_wire.append(frame)
        return frame

    def begin_again(self, committed_seq: int) -> list[Frame]:
        """A new stream: what is not committed is said again. Returns what was acknowledged by that."""
        acked = self.acknowledge(committed_seq)
        self._again = deque([*self._on_wire, *self._again])
        self._on_wire.clear()
        return acked

    def acknowledge(self, through_seq: int) -> list[Frame]:
        """The frames that this acknowledges. Raises ValueError for what was never said."""
        said_seq = self._ready_seq - (self._ready is not None)
        if through_seq > said_seq:
            raise ValueError(f"frame {through_seq} is acknowledged, and {said_seq} is the last that was ever said")
        acked: list[Frame] = []
        for waiting in (self._on_wire, self._again):
            while waiting and waiting[0].seq <= through_seq:
                acked.append(waiting.popleft())
        self.acked_seq = max(self.acked_seq, through_seq)
        return acked
