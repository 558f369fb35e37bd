"""Settings as dataclasses: each key with its default, what it means, and what it may be.

Pure: what the file and the environment said is handed in. ``read`` is whole or
raises BadSettings, which names every wrong key at once.
"""

from collections.abc import Sequence
from dataclasses import MISSING, field
from typing import Any


def setting(
    default: Any,
    meaning: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Sequence[Any] | None = None,
    required: bool = False,
) -> Any:
    """A key of the configuration: the field of a dataclass that ``read`` fills."""
    rules = {
        "meaning": meaning,
        "at_least": at_least,
        "at_most": at_most,
        "choices": choices,
        "required": required,
    }
    return field(default=MISSING if default is MISSING else default, metadata=rules)
