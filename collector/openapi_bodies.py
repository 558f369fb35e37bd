"""Bodies of decisions as JSON Schema, derived from the dataclasses that they become."""

from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any, Final, get_origin

from ..model.decision_fields import INSTANTS, may_be_none, types_of
from .bodies import LARGEST, LONGEST, LONGEST_BODY, LONGEST_WHY, MOST_NAMES
from .openapi_parameters import DATE_TIME

Json = dict[str, Any]
WHY: Final[Json] = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_WHY,
    "description": "why this is decided, in words",
}


def body_schema(kind: Any) -> Json:
    """As bodies.read_body takes it: no other members, and those without a default required."""
    required = [_shown(field.name) for field in fields(kind) if field.default is MISSING]
    return {
        "title": kind.__name__,
        "type": "object",
        "additionalProperties": False,
        "required": [*required, "why"],
        "properties": {**{_shown(name): _schema(kind, name) for name in types_of(kind)}, "why": WHY},
    }


def _shown(name: str) -> str:
    return name.removesuffix("_ns") if name in INSTANTS else name


def _schema(kind: Any, name: str) -> Json:
    one = _one(name, types_of(kind)[name])
    return {"anyOf": [one, {"type": "null"}]} if may_be_none(kind, name) else one


def _one(name: str, hint: Any) -> Json:
    text: Json = {"type": "string", "maxLength": LONGEST_BODY if name == "body" else LONGEST}
    if name in INSTANTS:
        return DATE_TIME
    if get_origin(hint) is tuple:
        return {"type": "array", "items": text, "maxItems": MOST_NAMES}
    if hint is bool:
        return {"type": "boolean"}
    if hint is int:
        return _whole(-LARGEST if name == "ns" else 0)
    if issubclass(hint, StrEnum):
        return {"type": "string", "enum": [each.value for each in hint]}
    return text


def _whole(at_least: int) -> Json:
    """As a number, or as a text for readers that make floats of numbers."""
    number = {"type": "integer", "minimum": at_least, "maximum": LARGEST}
    return {"anyOf": [number, {"type": "string", "pattern": "^-?[0-9]{1,19}$"}]}
