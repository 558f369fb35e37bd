"""Which version of the catalogue holds when, and which may still be added: prices are append-only."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .catalogue import Catalogue


class NotAddable(ValueError):
    """A version that would change what was already charged by; the text says why and what to do instead."""


def in_force(versions: Iterable[Catalogue], at_ns: int) -> Catalogue | None:
    """The version that holds at an instant: the latest to start that has neither not begun nor ended."""
    begun = [each for each in versions if each.effective_from_ns <= at_ns]
    latest = max(begun, key=lambda each: (each.effective_from_ns, each.version), default=None)
    if latest is None or (latest.effective_to_ns is not None and latest.effective_to_ns <= at_ns):
        return None
    return latest


def changes_within(versions: Iterable[Catalogue], start_ns: int, end_ns: int) -> list[Catalogue]:
    """Versions that start or end strictly inside a range: it has more than one price list."""
    return [each for each in versions if any(start_ns < edge < end_ns for edge in _edges(each))]


def check_addition(known: Sequence[Catalogue], new: Catalogue, now_ns: int) -> None:
    """Raises NotAddable. ``known``: the last word on every version there is.

    A version that has not started may be replaced. One that has started can only be ended, not before now.
    A new one must not start in time that another version has already priced.
    """
    former = next((each for each in known if each.version == new.version), None)
    if former is not None and former.effective_from_ns <= now_ns:
        _check_end(former, new, now_ns)
        return
    for each in known:
        if each.version != new.version and _has_priced(each, new.effective_from_ns, now_ns):
            raise NotAddable(
                f"effective_from lies in time that version {each.version} has priced already: "
                "start it later, or give a credit for what is past"
            )


def _check_end(former: Catalogue, new: Catalogue, now_ns: int) -> None:
    if replace(former, effective_to_ns=new.effective_to_ns) != new:
        raise NotAddable(f"version {new.version} has started and can only be ended: write another version")
    ends_ns, ended_ns = new.effective_to_ns, former.effective_to_ns
    if ends_ns == ended_ns:
        return
    if ended_ns is not None and ended_ns <= now_ns:
        raise NotAddable(f"version {new.version} has ended: write another version")
    if ends_ns is not None and ends_ns < now_ns:
        raise NotAddable("effective_to must not lie in the past: what was charged stays")


def _has_priced(each: Catalogue, start_ns: int, now_ns: int) -> bool:
    """Whether it held at some time in [start_ns, now_ns)."""
    end_ns = now_ns if each.effective_to_ns is None else min(each.effective_to_ns, now_ns)
    return each.effective_from_ns < now_ns and start_ns < end_ns


def _edges(each: Catalogue) -> tuple[int, ...]:
    return (each.effective_from_ns, *(() if each.effective_to_ns is None else (each.effective_to_ns,)))
