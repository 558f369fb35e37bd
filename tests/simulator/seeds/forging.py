"""Streams of frames that were tampered with and sealed anew, so that no hash tells."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from gputally.proto.v1 import usage_pb2 as wire
from gputally.simulator.audit.chain import unseal
from gputally.storage.frame import genesis_hash, make_frame

INTEGERS = {1, 2, 3, 4}  # FieldDescriptor.CPPTYPE_INT32, INT64, UINT32, UINT64


@dataclass(frozen=True)
class Place:
    """An integer field of some message in a stream: ``path`` leads to the message from its batch."""

    frame: int
    path: tuple[tuple[str, int | None], ...]
    message: str
    field: str

    @property
    def kind(self) -> str:
        return f"{self.message}.{self.field}"


def batches_of(frames: list[bytes]) -> list[Any]:
    return [wire.Batch.FromString(unseal(raw).payload) for raw in frames]


def sealed(batches: list[Any]) -> list[bytes]:
    """As a host would have written them, in one epoch."""
    epoch, frames = bytes(16), list[bytes]()
    head = genesis_hash(batches[0].host_id, epoch)
    for seq, batch in enumerate(batches, 1):
        frame = make_frame(epoch, seq, head, len(batch.records), batch.SerializeToString(deterministic=True))
        frames.append(frame.to_bytes())
        head = frame.hash
    return frames


def integers_in(batches: list[Any]) -> Iterator[Place]:
    """Each integer that is there, zeros too."""
    for number, batch in enumerate(batches):
        yield from _walk(number, (), batch)


def _walk(frame: int, path: tuple[tuple[str, int | None], ...], message: Any) -> Iterator[Place]:
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.cpp_type in INTEGERS and not _is_list(value):
            if not field.has_presence or message.HasField(field.name):
                yield Place(frame, path, message.DESCRIPTOR.name, field.name)
        elif field.message_type is not None and _is_list(value):
            for index, part in enumerate(value):
                yield from _walk(frame, (*path, (field.name, index)), part)
        elif field.message_type is not None and message.HasField(field.name):
            yield from _walk(frame, (*path, (field.name, None)), value)


def _is_list(value: Any) -> bool:
    return hasattr(value, "append")


def tampered(batches: list[Any], place: Place, by: int) -> list[bytes] | None:
    """The stream with one integer changed; None where the field cannot hold that value."""
    changed = list(batches)
    changed[place.frame] = batch = deepcopy(batches[place.frame])
    message: Any = batch
    for name, index in place.path:
        message = getattr(message, name) if index is None else getattr(message, name)[index]
    try:
        setattr(message, place.field, getattr(message, place.field) + by)
    except ValueError:
        return None
    return sealed(changed)
