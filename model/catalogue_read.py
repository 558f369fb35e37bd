"""Reading a catalogue that somebody wrote: whole, or refused with every wrong key named.

The table comes from TOML or JSON, read with ``parse_float=Decimal`` so that no price ever was a float.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final, cast

from .catalogue import ALLOCATED, GPU_HOURS, METERS, Catalogue, Parameter, Sku, Tier
from .settings import BadSettings, Problem
from .settings_value import as_list, as_table, show

MOST_SKUS: Final = 1_000
MOST_TIERS: Final = 32
MOST_PARAMETERS: Final = 8
LONGEST_TEXT: Final = 200
MOST_PLACES: Final = 12
"""Decimal places of a price; a quantity has nine."""
_LARGEST: Final = Decimal(10) ** 12
_NUMBER: Final = re.compile(r"[0-9]{1,13}(\.[0-9]{1,12})?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_NS: Final = re.compile(r"[0-9]{1,19}", re.ASCII)

Instant = Callable[[str], int]
"""RFC 3339 to ns since 1970, UTC; raises ValueError whose text says what is wrong."""


@dataclass(slots=True)
class _Reading:
    source: str
    instant: Instant
    problems: list[Problem] = field(default_factory=list[Problem])

    def refuse(self, key: str, what: str) -> None:
        self.problems.append(Problem(self.source, key, what))


def read_catalogue(told: Mapping[str, Any], source: str, instant: Instant) -> Catalogue:
    """``source`` names the file in messages. Raises BadSettings."""
    reading = _Reading(source, instant)
    top = _Table(reading, "", told)
    catalogue = Catalogue(
        version=top.text("version"),
        currency=_currency(top),
        effective_from_ns=top.instant("effective_from") or 0,
        effective_to_ns=top.instant("effective_to", optional=True),
        provider=top.text("provider", ""),
        sku_tag=top.text("sku_tag", "sku"),
        skus=tuple(_sku(each) for each in top.tables("skus", MOST_SKUS)),
    )
    top.refuse_rest()
    _check_whole(catalogue, reading)
    if reading.problems:
        raise BadSettings(reading.problems)
    return catalogue


def _check_whole(catalogue: Catalogue, reading: _Reading) -> None:
    if not catalogue.skus and not reading.problems:
        reading.refuse("skus", "sells nothing: write [[skus]] with name, gpu_model and price")
    names = [sku.name for sku in catalogue.skus]
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        reading.refuse("skus", f"name {show(name)} more than once: an SKU has one entry")
    end_ns = catalogue.effective_to_ns
    if end_ns is not None and end_ns <= catalogue.effective_from_ns:
        reading.refuse("effective_to", "must be later than effective_from")


def _currency(top: "_Table") -> str:
    text: str = top.text("currency")
    if text and not _CURRENCY.fullmatch(text):
        top.refuse("currency", f"is {show(text)}, must be a currency of ISO 4217 such as USD")
    return text


def _sku(table: "_Table") -> Sku:
    sku = Sku(
        name=table.text("name"),
        gpu_model=table.text("gpu_model"),
        meter=table.choice("meter", METERS, ALLOCATED),
        unit=table.choice("unit", (GPU_HOURS,), GPU_HOURS),
        tiers=_tiers(table),
        parameters=tuple(_parameter(each) for each in table.tables("parameters", MOST_PARAMETERS)),
    )
    table.refuse_rest()
    return sku


def _tiers(table: "_Table") -> tuple[Tier, ...]:
    if ("price" in table.told) == ("tiers" in table.told):
        table.refuse("price", "must be given, or tiers instead of it, but not both")
        table.skip("price", "tiers")
        return ()
    if "price" in table.told:
        return (Tier(Decimal(0), table.number("price")),)
    tiers = tuple(_tier(each) for each in table.tables("tiers", MOST_TIERS))
    starts = [tier.start for tier in tiers]
    if starts[:1] != [Decimal(0)] or any(a >= b for a, b in pairwise(starts)):
        table.refuse("tiers", "must start with from = 0, each later from being larger than the one before")
    return tiers


def _tier(table: "_Table") -> Tier:
    tier = Tier(table.number("from", places=9), table.number("price"))
    table.refuse_rest()
    return tier


def _parameter(table: "_Table") -> Parameter:
    parameter = Parameter(
        table.text("name"), table.texts("from"), table.text("value", None), table.text("wanted", None)
    )
    if not parameter.sources and parameter.value is None:
        table.refuse("from", "must name tags, or value must be given: this parameter can have no value")
    table.refuse_rest()
    return parameter


class _Table:
    """One table of the file; every key that is taken is known, what is left in the end is not."""

    def __init__(self, reading: _Reading, place: str, told: Mapping[str, Any]) -> None:
        self.told = told
        self._reading, self._place = reading, place
        self._taken: set[str] = set()

    def refuse(self, key: str, what: str) -> None:
        self._reading.refuse(self._place + key, what)

    def skip(self, *keys: str) -> None:
        self._taken |= set(keys)

    def refuse_rest(self) -> None:
        for key in self.told:
            if key not in self._taken:
                self.refuse(str(key), f"is unknown here; known are {', '.join(sorted(self._taken))}")

    def text(self, key: str, default: Any = ...) -> Any:
        """A text, or the default (any) where one is allowed."""
        raw = self._take(key)
        if raw is None and default is not ...:
            return default
        if isinstance(raw, str) and 0 < len(raw) <= LONGEST_TEXT and raw.isprintable():
            return raw
        self.refuse(key, f"{_is(raw)}, must be a text of 1 to {LONGEST_TEXT} printable characters")
        return ""

    def texts(self, key: str) -> tuple[str, ...]:
        raw = self._take(key)
        if raw is None:
            return ()
        items = as_list(raw)
        if items is None or len(items) > MOST_PARAMETERS or not all(isinstance(i, str) and i for i in items):
            self.refuse(key, f"{_is(raw)}, must be a list of at most {MOST_PARAMETERS} texts")
            return ()
        return tuple(cast("list[str]", items))

    def choice(self, key: str, known: tuple[str, ...], default: str) -> str:
        raw = self._take(key)
        if raw is not None and raw not in known:
            self.refuse(key, f"{_is(raw)}, must be {' or '.join(known)}")
        return raw if isinstance(raw, str) and raw in known else default

    def number(self, key: str, places: int = MOST_PLACES) -> Decimal:
        """Neither negative nor larger than 10**12; texts and numbers alike, but never a float."""
        raw = self._take(key)
        text = str(raw) if isinstance(raw, int | Decimal) and not isinstance(raw, bool) else raw
        number = _decimal(text)
        if number is None or number > _LARGEST or len(str(text).partition(".")[2]) > places:
            self.refuse(key, f'{_is(raw)}, must be a number such as "1.25", not negative, of at most {places} places')
            return Decimal(0)
        return number

    def instant(self, key: str, *, optional: bool = False) -> int | None:
        """RFC 3339 under ``key``, or ns as text under ``key_ns``, as the canonical form has it."""
        exact, raw = self._take(f"{key}_ns"), self._take(key)
        if exact is not None and raw is None:
            if isinstance(exact, str) and _NS.fullmatch(exact):
                return int(exact)
            self.refuse(f"{key}_ns", f"{_is(exact)}, must be ns since 1970 as a text")
        elif raw is not None or not optional:
            return self._parsed(key, raw)
        return None

    def tables(self, key: str, most: int) -> "list[_Table]":
        raw = self._take(key)
        rows = [] if raw is None else as_list(raw)
        tables = None if rows is None else [as_table(row) for row in rows]
        if tables is None or len(tables) > most or any(table is None for table in tables):
            self.refuse(key, f"must be a list of at most {most} tables")
            return []
        return [_Table(self._reading, f"{self._place}{key}[{n}].", table or {}) for n, table in enumerate(tables)]

    def _parsed(self, key: str, raw: object) -> int | None:
        text: Any = getattr(raw, "isoformat", lambda: raw)()  # a time of TOML
        try:
            if not isinstance(text, str):
                raise ValueError(f"{_is(raw)}, must be an RFC 3339 time such as 2026-10-01T00:00:00Z")
            return self._reading.instant(text)
        except ValueError as error:
            self.refuse(key, str(error))
            return None

    def _take(self, key: str) -> Any:
        self._taken.add(key)
        return self.told.get(key)


def _is(raw: object) -> str:
    return "is missing" if raw is None else f"is {show(raw)}"


def _decimal(text: object) -> Decimal | None:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
