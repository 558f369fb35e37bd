"""The rules that are in force at the collector, as its hosts are told them."""

from dataclasses import dataclass
from typing import Final

from ..model.rule_text import RuleText
from ..proto.v1 import uplink_pb2 as wire

TAKES_RULES: Final = "rules"
"""Among the capabilities of a Hello: this host wants them."""


@dataclass(frozen=True, slots=True)
class RuleNews:
    """A rule set in force, made ready once for all streams."""

    version: str
    digest: bytes
    message: wire.CollectorMessage

    @classmethod
    def of(cls, text: RuleText) -> "RuleNews":
        told = wire.RuleSet(version=text.version, body=text.body)
        return cls(text.version, text.digest, wire.CollectorMessage(rules=told))

    def is_news_to(self, hello: wire.Hello) -> bool:
        """Whether the host that said this wants rules and has heard others last, or none."""
        return TAKES_RULES in hello.capabilities and hello.rules_digest != self.digest
