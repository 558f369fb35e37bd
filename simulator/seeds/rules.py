"""The attributor under rules that change while it works: what a reload of the rules would be."""

from collections.abc import Callable, Sequence
from typing import Any

from ...model.reading import HostReading
from ...model.workload import Attribution
from ...plugins.attribution.attributor import CgroupAttributor, make_attributor
from ...plugins.attribution.rule_reading import compile_rules
from ..memory_kernel import MemoryKernel
from .script import Rules, Script


class RuledAttributor:
    """Implements the port Attributor with a real one, which is told when the rules change."""

    def __init__(self, script: Script, kernel: Callable[[], MemoryKernel], now_ns: Callable[[], int]) -> None:
        self._script, self._kernel, self._now_ns = script, kernel, now_ns
        self._rules = self._in_force()
        self._attributor = self._make()
        self.rules_version = self._attributor.rules_version

    def attribute(self, reading: HostReading) -> Attribution:
        """Up to this reading under the rules of the last one, from it on under those of now."""
        rules = self._in_force()
        if rules is not self._rules:
            self._rules = rules
            self._attributor.take_rules(compile_rules(_tables(rules)))
        told = self._attributor.attribute(reading)
        self.rules_version = self._attributor.rules_version
        return told

    def fileno(self) -> int:
        return self._attributor.fileno()

    def note_exits(self) -> None:
        self._attributor.note_exits()

    def note_happenings(self) -> bool:
        """What has happened to processes; whether somebody waits for a first look."""
        self._attributor.note_happenings()
        return self._attributor.follower is not None and self._attributor.follower.has_due()

    def close(self) -> None:
        self._attributor.close()

    def _in_force(self) -> Rules:
        now_ns = self._now_ns()
        return [each for each in self._script.rules if each.at_ns <= now_ns][-1]

    def _make(self) -> CgroupAttributor:
        return make_attributor("/proc", "/", _tables(self._rules), kernel=self._kernel().as_kernel())


def _tables(rules: Rules) -> Sequence[dict[str, Any]]:
    """As the configuration has them."""
    return [{"match": {"kind": job.kind, "id": job.id}, "tenant": tenant} for job, tenant in rules.tenants.items()]
