"""Globs that a tenant cannot make expensive.

Tenants choose names and operators choose patterns, so no pattern may backtrack:
each piece between two stars has a fixed length and is looked for once, from
left to right. ``*`` is any run of characters and ``?`` any one; neither crosses ``/``.
"""

import re
from dataclasses import dataclass

Captures = tuple[str, ...]


class BadGlob(ValueError):
    """A pattern that would not mean what it seems to."""


@dataclass(frozen=True, slots=True)
class _Component:
    """One component of a pattern: its pieces around the stars."""

    pieces: tuple[re.Pattern[str], ...]
    lengths: tuple[int, ...]

    def match(self, text: str) -> Captures | None:
        """What each star matched: each but the last takes as little as it can."""
        last = len(text) - self.lengths[-1]
        if len(self.pieces) == 1:
            return () if self.pieces[0].fullmatch(text) else None
        if last < self.lengths[0] or not self.pieces[0].match(text) or not self.pieces[-1].match(text, last):
            return None
        return self._fill(text, last)

    def _fill(self, text: str, last: int) -> Captures | None:
        captured: list[str] = []
        at = self.lengths[0]
        for piece in self.pieces[1:-1]:
            match = piece.search(text, at, last)
            if match is None:
                return None
            captured.append(text[at : match.start()])
            at = match.end()
        return (*captured, text[at:last])


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled pattern. ``stars`` is how many captures a match gives."""

    components: tuple[_Component, ...]
    stars: int
    prefix: bool = False
    """Whether a text with more components than the pattern matches too."""

    def match(self, text: str) -> Captures | None:
        """What the stars matched, in order; None where it does not match."""
        parts = text.split("/")
        wanted = len(self.components)
        if len(parts) < wanted or (len(parts) > wanted and not self.prefix):
            return None
        captured: list[str] = []
        for component, part in zip(self.components, parts, strict=False):
            found = component.match(part)
            if found is None:
                return None
            captured += found
        return tuple(captured)


def compile_glob(pattern: str, *, prefix: bool = False) -> Glob:
    """Raises BadGlob for ``**`` and for brackets, which other tools read as more than they are here."""
    if "**" in pattern:
        raise BadGlob("** has no meaning here: * does not cross /, so write one * for each component")
    if "[" in pattern or "]" in pattern:
        raise BadGlob("brackets have no meaning here: write ? for any one character, or one rule for each")
    components = tuple(map(_compile_component, pattern.split("/")))
    return Glob(components, pattern.count("*"), prefix)


def _compile_component(text: str) -> _Component:
    pieces = text.split("*")
    return _Component(tuple(map(_compile_piece, pieces)), tuple(map(len, pieces)))


def _compile_piece(text: str) -> re.Pattern[str]:
    return re.compile("".join("." if sign == "?" else re.escape(sign) for sign in text), re.DOTALL)
