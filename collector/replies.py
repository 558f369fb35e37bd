"""What a stream has to be told, coalesced: holds no socket and reads no clock."""

from ..proto.v1 import uplink_pb2 as wire
from ..storage.ledger_rules import Ruling, Verdict


class Replies:
    """Rejections in order, the newest acknowledgement, and one Resume for a whole run of frames out of order.

    None of the rejections is ever dropped: how many wait is for the stream's window to bound.
    """

    def __init__(self) -> None:
        self._rejects: list[wire.Reject] = []
        self._ack_seq: int | None = None
        self._resume_seq: int | None = None
        self._resumed = False

    def note(self, ruling: Ruling) -> None:
        """A frame was ruled on, and is durable if it was taken. A fork is not answered but ends the stream."""
        if ruling.verdict is Verdict.OUT_OF_ORDER:
            # The rest of what was on its way is out of order too: once said is enough.
            if not self._resumed:
                self._resume_seq = ruling.through_seq + 1
            self._resumed = True
            return
        self._resumed = False
        self._ack_seq = ruling.through_seq
        if ruling.rejected:
            self._rejects.append(wire.Reject(seq=ruling.seq, reason=ruling.rejected))

    def take(self) -> list[wire.CollectorMessage]:
        """What is to be sent now, rejections before the acknowledgement that covers them."""
        messages = [wire.CollectorMessage(reject=reject) for reject in self._rejects]
        if self._ack_seq is not None:
            messages.append(wire.CollectorMessage(ack=wire.Ack(through_seq=self._ack_seq)))
        if self._resume_seq is not None:
            messages.append(wire.CollectorMessage(resume=wire.Resume(next_seq=self._resume_seq)))
        self._rejects.clear()
        self._ack_seq = self._resume_seq = None
        return messages
