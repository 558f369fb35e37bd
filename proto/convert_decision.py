"""The one door between the wire and the model for decisions: fields of one name, on both sides.

Raises ValueError for bytes that are no decision, or one that cannot be true.
"""

from collections.abc import Iterable
from dataclasses import fields
from enum import StrEnum
from typing import Any, get_args, get_origin

from google.protobuf.message import DecodeError, Message

from ..model.decision_fields import KIND_OF, may_be_none, name_of, parts_of, types_of
from ..model.decisions import OWN_HOST_ID, Decided, Decision
from .v1 import decision_pb2 as wire


def encode_decided(decided: Decided) -> bytes:
    """The payload of a frame."""
    message = wire.Decided(host_id=OWN_HOST_ID, by=decided.by, at_ns=decided.at_ns, why=decided.why)
    _fill(getattr(message, name_of(type(decided.what))), decided.what)
    return message.SerializeToString(deterministic=True)


def decode_decided(payload: bytes) -> Decided:
    try:
        message = wire.Decided.FromString(payload)
    except DecodeError as error:
        raise ValueError(f"is no decision: {error}") from None
    name = message.WhichOneof("what")
    if message.host_id != OWN_HOST_ID or name is None:
        raise ValueError("is no decision, or of a kind that a newer gputally knows")
    what: Decision = _made(KIND_OF[name], getattr(message, name))
    return Decided(message.by, message.at_ns, message.why, what)


def _fill(message: Message, value: Any) -> None:
    message.SetInParent()  # so that one with nothing but defaults is still there
    for field in fields(value):
        told: Any = getattr(value, field.name)
        if (parts := parts_of(told)) is not None:
            _fill_list(getattr(message, field.name), parts)
        elif told is not None:
            setattr(message, field.name, str(told) if isinstance(told, StrEnum) else told)


def _fill_list(into: Any, values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, str):
            into.append(value)
        else:
            _fill(into.add(), value)


def _made(kind: Any, message: Any) -> Any:
    return kind(**{name: _value(kind, name, message) for name in types_of(kind)})


def _value(kind: Any, name: str, message: Any) -> Any:
    hint, told = types_of(kind)[name], getattr(message, name)
    if may_be_none(kind, name) and not message.HasField(name):
        return None
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return tuple(each if inner is str else _made(inner, each) for each in told)
    return hint(told)
