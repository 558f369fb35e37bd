"""From the tables of ``[[leases]]`` to leases: all of them, or a refusal that names each fault."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Final

from ...model.settings import BadSettings, Problem
from ...model.settings_value import as_list, as_table, show
from ...model.workload import UNATTRIBUTED, Owner
from .lease import ALL, LATEST_NS, Lease, to_ns
from .overlaps import find_conflicts

MOST_LEASES: Final = 1000
MOST_DEVICES: Final = 256
"""In one lease."""
MOST_PARTS: Final = 10_000
"""Into which a device may be divided."""
MOST_TAGS: Final = 8
LONGEST_TAG: Final = 64
"""Characters of a tag's name."""
LONGEST_TEXT: Final = 255
MOST_TOLD: Final = 50
"""Problems that are told one by one; how many more there are is told as well."""

KEYS: Final = ("id", "tenant", "project", "devices", "from", "to", "units", "of", "tags")
_ID: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_DEVICE: Final = re.compile(r"(?:nvidia:)?((?:GPU|MIG)-[0-9A-Za-z./-]{1,120})", re.ASCII)
_ONE_LEASE: Final = "write [[leases]] for each lease and its keys below"


def read_leases(told: Mapping[str, Any], source: str) -> tuple[Lease, ...]:
    """The leases of a parsed file, in its order. Raises BadSettings with every problem at once."""
    problems = [
        Problem(source, key, f"unknown key; there is only leases: {_ONE_LEASE}") for key in told if key != "leases"
    ]
    tables = _tables(told.get("leases", []), source, problems)
    readings = [_Reading(source, number, table, problems) for number, table in enumerate(tables, 1)]
    leases = [lease for reading in readings if (lease := reading.read()) is not None]
    problems += _duplicates(readings)
    if not problems:
        problems += (Problem(source, _key(lease.id, "devices"), what) for lease, what in find_conflicts(leases))
    if problems:
        raise BadSettings(_shortened(problems, source))
    return tuple(leases)


def _tables(raw: object, source: str, problems: list[Problem]) -> Sequence[dict[str, Any]]:
    items = as_list(raw)
    tables = [as_table(item) for item in items or []]
    if items is None or None in tables:
        problems.append(Problem(source, "leases", f"is {show(raw)}, must be an array of tables: {_ONE_LEASE}"))
    if len(tables) > MOST_LEASES:
        problems.append(Problem(source, "leases", f"are {len(tables)}, at most {MOST_LEASES}: take out what has ended"))
        return []
    return [table for table in tables if table is not None]


def _key(lease: str, key: str) -> str:
    return f"[[leases]] {lease}: {key}"


def _duplicates(readings: Sequence["_Reading"]) -> Iterator[Problem]:
    count = Counter(reading.name for reading in readings)
    for name, times in count.items():
        if times > 1:
            source = readings[0].source
            yield Problem(source, _key(name, "id"), f"is there {times} times: each lease needs an id of its own")


def _shortened(problems: list[Problem], source: str) -> list[Problem]:
    if len(problems) <= MOST_TOLD:
        return problems
    return [*problems[:MOST_TOLD], Problem(source, "", f"and {len(problems) - MOST_TOLD} more problems")]


@dataclass(slots=True)
class _Reading:
    """One lease being read, and what is wrong with it."""

    source: str
    number: int
    table: Mapping[str, Any]
    problems: list[Problem]
    name: str = field(init=False)
    """Its id, or its number where that is none."""

    def __post_init__(self) -> None:
        told = self.table.get("id")
        self.name = told if isinstance(told, str) and _ID.fullmatch(told) else f"number {self.number}"

    def read(self) -> Lease | None:
        """None if anything is wrong."""
        before = len(self.problems)
        for key in self.table:
            if key not in KEYS:
                self._refuse(key[:LONGEST_TAG], f"unknown key; known are {', '.join(KEYS)}")
        self._check_id()
        owner = Owner(self._tenant(), self._text("project"), f"lease {self.name}", tags=tuple(self._tags()))
        start_ns, end_ns = self._moment("from"), self._moment("to")
        devices, units, of = tuple(self._devices()), self._parts("units"), self._parts("of")
        if start_ns is not None and end_ns is not None and end_ns <= start_ns:
            self._refuse("to", "is not after from: a lease ends later than it begins")
        if units > of:
            self._refuse("units", f"is {units}, more than of = {of}: a lease has at most the whole device")
        if len(self.problems) > before or start_ns is None:
            return None
        return Lease(self.name, owner, devices, start_ns, end_ns, units, of)

    def _refuse(self, key: str, what: str) -> None:
        self.problems.append(Problem(self.source, _key(self.name, key), what))

    def _check_id(self) -> None:
        if self.name != self.table.get("id"):
            self._refuse("id", "must be 1 to 128 printable ASCII characters without spaces, and no other lease's")

    def _tenant(self) -> str:
        tenant = self._text("tenant")
        if not tenant and self.table.get("tenant", "") == "":
            self._refuse("tenant", "is missing: a lease must say who answers for it")
        elif tenant == UNATTRIBUTED:
            self._refuse("tenant", f'"{UNATTRIBUTED}" is reserved for what belongs to nobody')
        return tenant

    def _text(self, key: str) -> str:
        """The text of a key that may be left out. A control character would break a line of a bill."""
        value = self.table.get(key, "")
        if isinstance(value, str) and len(value) <= LONGEST_TEXT and (value == "" or value.isprintable()):
            return value
        self._refuse(key, f"is {show(value)}, must be text of at most {LONGEST_TEXT} printable characters")
        return ""

    def _moment(self, key: str) -> int | None:
        value = self.table.get(key)
        if isinstance(value, datetime) and value.tzinfo is not None:
            wall_ns = to_ns(value)
            if 0 <= wall_ns <= LATEST_NS:
                return wall_ns
            self._refuse(key, f"is {value.isoformat()}, must be from 1970 to 2262; without to there is no end")
        elif isinstance(value, datetime | date | time):
            told = value.isoformat()
            self._refuse(key, f"is {told} and does not say where: write {key} = 2026-11-01T00:00:00Z, or +01:00 for Z")
        elif value is not None:
            self._refuse(
                key, f"is {show(value)}, must be a date and time: {key} = 2026-11-01T00:00:00Z, without quotes"
            )
        elif key == "from":
            self._refuse(key, "is missing: write from = 2026-11-01T00:00:00Z")
        return None

    def _parts(self, key: str) -> int:
        value = self.table.get(key, 1)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_PARTS:
            return value
        self._refuse(key, f"is {show(value)}, must be a whole number from 1 to {MOST_PARTS}")
        return 1

    def _devices(self) -> Iterator[str]:
        names = as_list(self.table.get("devices"))
        if not names or len(names) > MOST_DEVICES:
            self._refuse("devices", f'must be a list of 1 to {MOST_DEVICES} UUIDs, or ["*"] for all of this host')
            return
        if ALL in names and len(names) > 1:
            self._refuse("devices", 'has "*", which is all of this host, and others beside it: write one or the other')
        devices = [device for name in names if (device := self._device(name)) is not None]
        for device, times in Counter(devices).items():
            if times > 1:
                self._refuse("devices", f"has {device} {times} times: once is enough")
        yield from devices

    def _device(self, name: object) -> str | None:
        if name == ALL:
            return ALL
        match = _DEVICE.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            self._refuse(
                "devices", f'has {show(name)}, which is no UUID: see nvidia-smi -L, as in "GPU-..." or "MIG-..."'
            )
            return None
        return f"nvidia:{match[1]}"

    def _tags(self) -> Iterator[tuple[str, str]]:
        tags = as_table(self.table.get("tags", {}))
        if tags is None or len(tags) > MOST_TAGS:
            self._refuse("tags", f"must be a table of at most {MOST_TAGS} texts")
            return
        for key, value in sorted(tags.items()):
            if not 1 <= len(key) <= LONGEST_TAG or not key.isprintable():
                self._refuse("tags", f"{show(key)}: a name has 1 to {LONGEST_TAG} printable characters")
            elif not isinstance(value, str) or len(value) > LONGEST_TEXT or not (value.isprintable() or value == ""):
                self._refuse(f"tags.{key}", f"is {show(value)}, must be text of at most {LONGEST_TEXT} characters")
            else:
                yield key, value
