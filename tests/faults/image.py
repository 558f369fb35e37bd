"""What a disk may hold after a crash, by what was written to it and flushed.

A write that was not flushed may be there, or not, or torn at a sector's edge, each
for itself: disks and kernels reorder as they like. A flush makes sure of all
earlier writes to its file and of the file's own name; that of a folder makes sure of
the names in it; a write through makes sure of itself. A new name or a name's end
that nobody flushed may have come to the disk or not.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from .trace import Event

_SECTOR_BYTES: Final = 512
"""What disks write as one."""
Files = dict[str, bytes]
"""By name."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment at which the power may go. ``promised``: the numbers of the last mark before it."""

    promised: tuple[int, int, int]
    sure: "Image"
    open_: tuple[Event, ...]
    """Not flushed, in order."""

    def states(self, chance: random.Random, most: int) -> Iterator[Files]:
        """At most so many that differ: nothing of what is open, all of it, then parts by lot."""
        seen: set[tuple[Event, ...]] = set()
        for number in range(most):
            picked = self._picked(chance, number)
            if picked not in seen:
                seen.add(picked)
                yield self.sure.with_(picked)

    def _picked(self, chance: random.Random, number: int) -> tuple[Event, ...]:
        if number < 2:
            return self.open_ if number else ()
        likelihood = chance.choice((0.1, 0.5, 0.9))
        return tuple(torn(event, chance) for event in self.open_ if chance.random() < likelihood)


@dataclass(slots=True)
class Image:
    """Files by inode, and names for them."""

    content: dict[int, bytearray] = field(default_factory=dict[int, bytearray])
    names: dict[str, int] = field(default_factory=dict[str, int])

    def apply(self, event: Event) -> None:
        match event.kind:
            case "w" | "t":
                self._write(event)
            case "s":
                self._resize(event.inode, event.offset)
            case "r" if event.name in self.names:
                self.names[event.to] = self.names.pop(event.name)
            case "u":
                self.names.pop(event.name, None)
            case _:
                pass

    def name(self, event: Event) -> None:
        """The file that is written here has the name under which it was opened, unless it has one already."""
        if event.inode not in self.names.values():
            self.names[event.name] = event.inode
        self.content.setdefault(event.inode, bytearray())

    def with_(self, events: tuple[Event, ...]) -> Files:
        """The files as they are if these have come to the disk as well."""
        touched = {event.inode for event in events}
        content = {inode: bytearray(data) if inode in touched else data for inode, data in self.content.items()}
        image = Image(content, dict(self.names))
        for event in events:
            if event.inode:
                image.name(event)
            image.apply(event)
        return {name: bytes(image.content[inode]) for name, inode in image.names.items() if inode in image.content}

    def copy(self) -> "Image":
        return Image({inode: bytearray(data) for inode, data in self.content.items()}, dict(self.names))

    def _write(self, event: Event) -> None:
        file = self.content.setdefault(event.inode, bytearray())
        if len(file) < event.offset:
            file.extend(bytes(event.offset - len(file)))
        file[event.offset : event.offset + len(event.data)] = event.data

    def _resize(self, inode: int, size_bytes: int) -> None:
        file = self.content.setdefault(inode, bytearray())
        if size_bytes < len(file):
            del file[size_bytes:]
        else:
            file.extend(bytes(size_bytes - len(file)))


def cuts(events: list[Event], *, flush: bool = True) -> Iterator[Cut]:
    """One before each change. ``flush`` False: the control, a disk that flushes nothing whatever it says."""
    sure, open_, promised = Image(), list[Event](), (0, 0, 0)
    for event in events:
        if event.kind not in "mf":
            yield Cut(promised, sure.copy(), tuple(open_))
        # The one thread there is has come back from writing through when it does something else.
        open_ = _written_through(sure, open_) if flush else open_
        if event.kind == "m":
            promised = event.numbers
        elif event.kind == "f":
            open_ = _flushed(sure, open_, event) if flush else open_
        else:
            open_.append(event)
    yield Cut(promised, sure.copy(), tuple(open_))


def torn(event: Event, chance: random.Random) -> Event:
    """Perhaps only some sectors of it. LMDB's meta pages and SQLite's headers are within one."""
    first, last = event.offset // _SECTOR_BYTES, (event.offset + len(event.data) - 1) // _SECTOR_BYTES
    if event.kind not in ("w", "t") or first == last or chance.random() < 0.5:
        return event
    edge = chance.randint(first + 1, last) * _SECTOR_BYTES - event.offset
    if chance.random() < 0.5:
        return Event(event.kind, event.inode, event.offset, event.name, event.data[:edge])
    return Event(event.kind, event.inode, event.offset + edge, event.name, event.data[edge:])


def _flushed(sure: Image, open_: list[Event], flush: Event) -> list[Event]:
    left = list[Event]()
    for event in open_:
        if event.inode == flush.inode:
            sure.name(event)
            sure.apply(event)
        elif flush.name in _folders(event):
            sure.apply(event)
        else:
            left.append(event)
    return left


def _written_through(sure: Image, open_: list[Event]) -> list[Event]:
    for event in open_:
        if event.kind == "t":
            sure.name(event)
            sure.apply(event)
    return [event for event in open_ if event.kind != "t"]


def _folders(event: Event) -> Mapping[str, None]:
    """Whose flush makes sure of a change of names."""
    names = {"r": (event.to,), "u": (event.name,)}.get(event.kind, ())
    return {str(PurePath(name).parent): None for name in names}
