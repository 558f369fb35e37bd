"""``gputally status``: asks the daemon of this host how it is."""

import json
import socket
import sys
from typing import Any

import click

from ..model.exits import Exit

ANSWER_WITHIN_S = 5.0
DEFAULT_SOCKET = "/run/gputally/daemon.sock"


@click.command()
@click.option("--socket", "path", default=DEFAULT_SOCKET, show_default=True, help="The daemon's control socket.")
@click.option("--json", "as_json", is_flag=True, help="All of it, for scripts.")
def command(path: str, as_json: bool) -> None:
    """Devices, tenants on them now, log depth, stream, gaps."""
    try:
        told = ask_daemon(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        click.echo(
            f"{path}: no daemon answers ({reason}); is gputallyd running, and is this its control.socket?", err=True
        )
        sys.exit(Exit.UNAVAILABLE)
    click.echo(json.dumps(told, indent=2) if as_json else _in_words(told))


def ask_daemon(path: str) -> dict[str, Any]:
    """What the daemon behind this socket says of itself. Raises OSError if nobody answers."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(ANSWER_WITHIN_S)
        asked.connect(path)
        with asked.makefile() as answer:
            told: dict[str, Any] = json.loads(answer.readline())
    return told


def _in_words(told: dict[str, Any]) -> str:
    log, uplink, attribution = told["log"], told["uplink"], told["attribution"]
    age_s = uplink["last_ack_age_s"]
    heard = "never acknowledged" if age_s is None else f"acknowledged {age_s:.1f} s ago"
    lines = [
        f"host {told['host_id']}, gputally {told['version']}, up {told['uptime_s']:.0f} s",
        f"log     frames {log['first_seq']} to {log['last_seq']}, {log['unacked_frames']} not acknowledged, "
        f"{log['bytes'] / 2**20:.1f} of {log['cap_bytes'] / 2**20:.0f} MiB",
        f"uplink  {uplink['state']}, {uplink['endpoint'] or 'no collector'}, {heard}",
        f"owners  {attribution['processes']} processes, {attribution['unattributed']} without a tenant",
        "",
    ]
    return "\n".join(lines + [line for device in told["devices"] for line in _device_in_words(device)])


def _device_in_words(device: dict[str, Any]) -> list[str]:
    seen = device["state"] if device["gap_reason"] is None else f"gap: {device['gap_reason']}"
    lines = [f"{device['uuid']}  {device['model']}  {seen}"]
    for on in device["tenants"]:
        project = f"/{on['project']}" if on["project"] else ""
        lines.append(f"    {on['tenant']}{project}  {on['workload'][:60]}  {on['processes']} processes")
    return lines
