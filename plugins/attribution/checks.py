"""What is checked and said once when an attributor is made."""

import logging
from collections.abc import Sequence
from typing import Final

from .rule_reading import METADATA_KEYS
from .rules import BadRules, RuleSet

_log = logging.getLogger(__name__)

PLUGINS: Final = ("kubernetes", "slurm", "docker", "podman", "systemd", "lease")


def check_plugins(plugins: Sequence[str]) -> None:
    """Raises BadRules for a name that is none of ours."""
    unknown = [name for name in plugins if name not in PLUGINS]
    if unknown:
        raise BadRules([f"plugins: no such plugin: {', '.join(unknown)}; there are {', '.join(PLUGINS)}"])


def unanswered_keys(rules: RuleSet) -> list[str]:
    """Keys that rules ask for and nothing answers yet: the metadata sources are still to come."""
    return sorted(key for key in rules.asked_keys() if key in METADATA_KEYS or key.startswith("label."))


def warn_of_rules(rules: RuleSet) -> None:
    if keys := unanswered_keys(rules):
        _log.warning(
            "attribution.rules use %s, which this version cannot know yet: these rules match nothing; "
            "kind, id, path, unit, uid and name are known",
            ", ".join(keys),
        )
