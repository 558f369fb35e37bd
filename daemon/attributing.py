"""Attribution as the daemon runs it: made from the configuration, and awake when processes begin and end."""

import trio

from ..model.settings import BadSettings, Problem
from ..plugins.attribution.attributor import CgroupAttributor, make_attributor
from ..plugins.attribution.connector import ConnectorUnusable
from ..plugins.attribution.rules import RuleSet
from .config import AttributionConfig

FOLLOW_EVERY_S = 0.05
"""A process that lives twice as long is looked at while it is there."""


def open_attributor(config: AttributionConfig, rules: RuleSet | None = None) -> CgroupAttributor:
    """``rules``: in place of the configured ones.

    Raises BadRules, and BadSettings where the process connector is wanted and not to be had.
    """
    try:
        return make_attributor(
            proc=config.proc,
            cgroup=config.cgroup,
            rules=config.rules if rules is None else rules,
            plugins=config.plugins,
            process_connector=config.process_connector,
            remember_s=config.remember_s,
        )
    except ConnectorUnusable as error:
        raise BadSettings([Problem("", "attribution.process_connector", str(error))]) from error


async def note_exits(attributor: CgroupAttributor) -> None:
    """Wakes only when a process that holds a GPU has ended."""
    while True:
        await trio.lowlevel.wait_readable(attributor.fileno())
        attributor.note_exits()


async def follow_processes(attributor: CgroupAttributor) -> None:
    """Wakes twice for what happens now and then, at most every FOLLOW_EVERY_S however much happens.

    Ends at once where nobody tells of processes.
    """
    follower = attributor.follower
    while follower is not None:
        if not follower.has_due():
            await trio.lowlevel.wait_readable(follower.fileno())
        await trio.sleep(FOLLOW_EVERY_S)
        attributor.note_happenings()
