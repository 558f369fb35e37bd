"""A collector in memory that commits each frame exactly once: the ledger of a simulation."""

from bisect import bisect_left

from ...daemon.replay_events import Acked, Answer, Rejected, Resumed
from ...storage.frame import genesis_hash, read_frame
from .script import Script


class Collector:
    """Frames by stream, each follows the one before it. May be away, and may lose its newest frames."""

    def __init__(self, script: Script) -> None:
        self.ledger: list[bytes] = []
        """Every frame in the order in which it was committed."""
        self.replays = 0
        """How often a frame came again."""
        self._committed_ns: list[int] = []
        self._aways = script.aways
        self._losses = list(script.losses)

    def is_away(self, now_ns: int) -> bool:
        """Whether nobody answers."""
        return any(now_ns in each for each in self._aways)

    def is_restored(self, now_ns: int) -> bool:
        """Loses what a backup lacks, once, if it is time for that: streams from before do not go on."""
        if not self._losses or now_ns < self._losses[0].at_ns:
            return False
        loss = self._losses.pop(0)
        kept = bisect_left(self._committed_ns, loss.at_ns - loss.age_ns)
        del self.ledger[kept:], self._committed_ns[kept:]
        return True

    def head(self, host_id: str, epoch: bytes) -> tuple[int, bytes]:
        """The newest frame's seq and hash."""
        if not self.ledger:
            return 0, genesis_hash(host_id, epoch)
        newest = read_frame(self.ledger[-1])
        return newest.seq, newest.hash

    def offer(self, host_id: str, raw: bytes, now_ns: int) -> Answer:
        """Commits the frame if it is the next one; what was committed before is acknowledged again."""
        frame = read_frame(raw)
        seq, head = self.head(host_id, frame.epoch)
        if frame.seq <= seq:
            self.replays += 1
            return Acked(seq)
        if frame.seq > seq + 1:
            return Resumed(seq + 1)
        if frame.previous_hash != head:
            return Rejected(frame.seq, "follows another frame")
        self.ledger.append(raw)
        self._committed_ns.append(now_ns)
        return Acked(frame.seq)
