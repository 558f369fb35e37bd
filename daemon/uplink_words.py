"""Between the messages of the wire and the events of the protocol."""

from dataclasses import dataclass
from typing import Final, Protocol

from ..model.rule_text import RuleText
from ..proto.v1 import uplink_pb2 as wire
from ..storage.frame import FORMAT
from ..storage.wal import Log, LogStat
from .replay_events import Acked, Answer, Rejected, Resumed, Ruled, Welcomed

TAKES_RULES: Final = "rules"
"""Among the capabilities of Hello: the collector's rules are wanted here."""
_FRAME_TAG: Final = b"\x12"
"""Field 2 of HostMessage, of wire type 2: https://protobuf.dev/programming-guides/encoding/"""


@dataclass(frozen=True, slots=True)
class RulesHere:
    """What this host says of the collector's rules. ``version`` in force, ``digest`` of those it heard last."""

    version: str = ""
    digest: bytes = b""


class RuleListener(Protocol):
    """Who hears the collector's rules. Both may be called from any thread."""

    def here(self) -> RulesHere: ...

    def hear(self, text: RuleText) -> None: ...


def hello(stat: LogStat, host_id: str, version: str, rules: RulesHere | None = None) -> wire.HostMessage:
    """The first message of a stream. Without ``rules`` this host takes none from the collector."""
    said = wire.Hello(
        host_id=host_id,
        epoch=stat.epoch,
        frame_format=FORMAT,
        first_seq=stat.first_seq,
        last_seq=stat.last_seq,
        daemon_version=version,
    )
    if rules is not None:
        said.capabilities.append(TAKES_RULES)
        said.rules_version, said.rules_digest = rules.version, rules.digest
    return wire.HostMessage(hello=said)


def goodbye(reason: str) -> wire.HostMessage:
    """The last."""
    return wire.HostMessage(goodbye=wire.Goodbye(reason=reason))


def frame_message(raw: bytes) -> bytes:
    """HostMessage(frame=raw) as it is on the wire: the stored bytes behind a tag and their number.

    Protobuf would copy them once to build the message and again to serialize it.
    """
    return b"".join((_FRAME_TAG, _varint(len(raw)), raw))


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def answer_in(message: wire.CollectorMessage, log: Log) -> Answer | None:
    """None: of a kind that only a newer collector knows. Reads the log: not for the event loop."""
    match message.WhichOneof("kind"):
        case "welcome":
            told = message.welcome
            place = log.place(told.committed_seq)
            windows = told.window_frames, told.window_bytes
            return Welcomed(told.committed_seq, told.head_hash, place.hash, *windows, place.goes_on_seq)
        case "ack":
            return Acked(message.ack.through_seq)
        case "resume":
            return Resumed(message.resume.next_seq)
        case "reject":
            return Rejected(message.reject.seq, message.reject.reason)
        case "rules":
            return Ruled(RuleText(message.rules.version, message.rules.body))
        case _:
            return None
