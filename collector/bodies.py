"""A decision as a caller writes it (JSON), and as it is shown again: the fields of its kind, by name.

Instants are RFC 3339 and lose their ``_ns``; lengths are whole numbers of ns, as numbers or in strings; bytes are
hexadecimal. Unknown members are refused, not ignored: a misspelt ``tenant`` must not become everybody's.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Any, Final, TypeVar, cast, get_origin

from ..model.decision_fields import INSTANTS, may_be_none, parts_of, types_of
from ..storage.projection_decisions import Stored
from .instants import format_instant, parse_instant
from .problems import BadParameter, Problem

Json = dict[str, Any]
T = TypeVar("T")
MOST_NAMES: Final = 1_000
LONGEST: Final = 255
LONGEST_BODY: Final = 200_000
LONGEST_WHY: Final = 2_000
LARGEST: Final = 2**62
_NUMBER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)


def read_body(kind: type[T], told: object) -> tuple[T, str]:
    """(the decision, or what is asked for one, and why in its author's words). Raises BadParameter."""
    body = as_object(told)
    why = take_why(body)
    known = {_shown(name): name for name in types_of(kind)}
    for name in body:
        if name != "why" and name not in known:
            near = get_close_matches(name, known, n=1)
            raise BadParameter(name, f"is unknown here; known are {near[0] if near else ', '.join([*known, 'why'])}")
    values = {name: _take(kind, name, body[shown]) for shown, name in known.items() if shown in body}
    for field in fields(cast("Any", kind)):
        if field.default is MISSING and field.name not in values:
            raise BadParameter(_shown(field.name), "is missing")
    return kind(**values), why


def as_object(told: object) -> Json:
    if not isinstance(told, dict):
        raise Problem(400, "bad-body", "the body must be one JSON object")
    return cast("Json", told)


def take_why(body: Mapping[str, Any]) -> str:
    """Every decision says why: it is read years later."""
    why = body.get("why")
    if not isinstance(why, str) or not why.strip() or len(why) > LONGEST_WHY:
        raise BadParameter("why", f"must say in words why this is decided, in at most {LONGEST_WHY} characters")
    return why.strip()


def show(stored: Stored[Any], to_tenant: str | None = None) -> Json:
    """A decision as JSON, with where it comes from.

    A tenant is not told who decided it, and why in their words, which may speak of others.
    """
    what: object = stored.what
    told = {_shown(name): _show(name, getattr(what, name)) for name in types_of(type(what))}
    return {
        "log_id": str(stored.log_id),
        "by": stored.by if to_tenant is None else None,
        "decided_at": format_instant(stored.at_ns),
        "why": stored.why if to_tenant is None else None,
        **told,
    }


def _shown(name: str) -> str:
    return name.removesuffix("_ns") if name in INSTANTS else name


def _show(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name in INSTANTS:
        return format_instant(value)
    if isinstance(value, bytes):
        return value.hex()
    parts = parts_of(value)
    if parts is not None:
        return parts
    return str(value) if name == "ns" or name.endswith("_ns") else value


def _take(kind: Any, name: str, told: object) -> Any:
    shown, hint = _shown(name), types_of(kind)[name]
    if told is None and may_be_none(kind, name):
        return None
    if name in INSTANTS:
        return _take_instant(shown, told)
    if get_origin(hint) is tuple:
        return _take_names(shown, told)
    if hint is bool:
        if not isinstance(told, bool):
            raise BadParameter(shown, f"is {told!r}, must be true or false")
        return told
    if hint is int:
        return _take_whole(shown, told, -LARGEST if name == "ns" else 0)
    return _take_text(shown, hint, told)


def _take_instant(shown: str, told: object) -> int:
    try:
        return parse_instant(told if isinstance(told, str) else "")
    except ValueError as error:
        raise BadParameter(shown, str(error)) from None


def _take_whole(shown: str, told: object, at_least: int) -> int:
    whole = isinstance(told, int) and not isinstance(told, bool)
    if not whole and not (isinstance(told, str) and _NUMBER.fullmatch(told)):
        raise BadParameter(shown, f"is {told!r}, must be a whole number")
    number = int(cast("int | str", told))
    if not at_least <= number <= LARGEST:
        raise BadParameter(shown, f"is {number}, must be from {at_least} to {LARGEST}")
    return number


def _take_names(shown: str, told: object) -> tuple[str, ...]:
    names = cast("list[object]", told) if isinstance(told, list) else None
    if names is None or len(names) > MOST_NAMES:
        raise BadParameter(shown, f"must be a list of at most {MOST_NAMES} names")
    return tuple(_take_text(shown, str, each) for each in names)


def _take_text(shown: str, hint: Any, told: object) -> Any:
    most = LONGEST_BODY if shown == "body" else LONGEST
    if not isinstance(told, str) or len(told) > most or "\x00" in told:
        raise BadParameter(shown, f"must be a text of at most {most} characters")
    if hint is str:
        return told
    if told not in list(hint):
        raise BadParameter(shown, f'is "{told}", must be one of {", ".join(map(str, hint))}')
    return hint(told)
