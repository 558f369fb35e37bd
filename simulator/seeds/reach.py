"""How far faults may reach: outside of it nothing may be unobserved or inferred, whatever the meter says."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from .script import Blind, Ending, Life, S, Script, Stretch

CHECKPOINT_NS = 20 * S
"""How old a checkpoint may be."""


class Reach:
    """Of one script's faults, as stretches of true time that do not overlap."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.tick_ns = round(max(script.every_s, script.idle_every_s) * S) + script.answer_ns + script.hang_ns
        """The longest way from one reading to the next."""
        self._parents = {each.device_id: each.parent_id for each in script.instances}
        self.down = {device_id: _joined(self._down(device_id)) for device_id in script.device_ids}
        """When the daemon was not there, or what it had seen died with it, until it saw the device again."""
        self.blind = {device_id: _joined(self._blind(device_id)) for device_id in script.device_ids}
        """When a device may be unobserved."""
        self.short_ns = 3 * self.tick_ns
        """Whoever holds a device for less may never be seen."""
        self.late = _joined(self._around(script.slow))
        """When readings may be attributed long after they were taken."""
        self.ruled = _joined(self._ruled())
        """When other tenants had begun to answer, and not everybody may have noticed."""

    def is_quiet(self, device_id: str, start_ns: int, end_ns: int) -> bool:
        """Whether nothing reaches this stretch that could hide what happens in it."""
        hidden = (*self.blind[device_id], *self.late, *self.ruled)
        return not within(hidden, start_ns - self.tick_ns, end_ns + self.tick_ns)

    def blinds_of(self, device_id: str) -> list[Blind]:
        """When the driver gives no reading of it, as the script has it."""
        names = (None, device_id, self._parents.get(device_id, device_id))
        return [each for each in self._script.blinds if each.device_id in names]

    def _down(self, device_id: str) -> Iterator[Stretch]:
        for life, following in pairwise(self._script.lives):
            until_ns = following.start_ns
            for blind in sorted(self.blinds_of(device_id), key=lambda each: each.from_ns):
                if blind.from_ns <= until_ns + 2 * self.tick_ns:
                    until_ns = max(until_ns, blind.until_ns)
            yield Stretch(self.remembered_ns(life), until_ns + 2 * self.tick_ns)

    def dead_ns(self, life: Life) -> int:
        """When it has ended for certain: one that is killed at its next commit has one soon."""
        if life.ending in (Ending.KILLED, Ending.STOPPED):
            return life.end_ns
        return min(life.latest_ns, life.end_ns + CHECKPOINT_NS + 2 * self.tick_ns)

    def remembered_ns(self, life: Life) -> int:
        """What came later may have died with the daemon."""
        if life.ending is Ending.STOPPED:
            last_ns = life.end_ns - self._script.answer_ns - self._script.hang_ns
            blinds = (
                blind
                for blind in self._script.blinds
                if blind.from_ns <= life.end_ns <= blind.until_ns + 2 * self.tick_ns
            )
            return min([last_ns, *(blind.from_ns - self.tick_ns for blind in blinds)])
        return self._waited_ns(life.end_ns) - CHECKPOINT_NS - 3 * self.tick_ns

    def _waited_ns(self, at_ns: int) -> int:
        """Since when a commit may have waited for the disk that is due now."""
        for slow in reversed(self._script.slow):
            if slow.from_ns <= at_ns <= slow.until_ns + 2 * self.tick_ns:
                at_ns = slow.from_ns
        return at_ns

    def _blind(self, device_id: str) -> Iterator[Stretch]:
        yield from self._down(device_id)
        yield from self._around(Stretch(each.from_ns, each.until_ns) for each in self.blinds_of(device_id))
        yield from self._around(self._script.suspends)
        yield from self._around(self._script.releases)
        yield from self._around(self._script.slow)
        window_ns = self._script.window_s * S
        for each in self._around(self._script.full):
            yield Stretch(self._waited_ns(each.from_ns) - window_ns, each.until_ns + window_ns)

    def _ruled(self) -> Iterator[Stretch]:
        for rules in self._script.rules[1:]:
            yield from (late for late in self.late if rules.at_ns in late)
            yield Stretch(rules.at_ns, rules.at_ns + self.tick_ns)

    def _around(self, stretches: Iterable[Stretch]) -> Iterator[Stretch]:
        """From the last reading before to the first ones after."""
        for each in stretches:
            yield Stretch(each.from_ns - self.tick_ns, each.until_ns + 2 * self.tick_ns)


def within(stretches: Iterable[Stretch], start_ns: int, end_ns: int) -> int:
    """How much of ``[start_ns, end_ns)`` they cover."""
    return sum(max(min(each.until_ns, end_ns) - max(each.from_ns, start_ns), 0) for each in stretches)


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    found: list[Stretch] = []
    for each in sorted(stretches, key=lambda stretch: stretch.from_ns):
        if found and each.from_ns <= found[-1].until_ns:
            found[-1] = Stretch(found[-1].from_ns, max(found[-1].until_ns, each.until_ns))
        else:
            found.append(each)
    return found
