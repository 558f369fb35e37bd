"""``gputally status``: asks the daemon of this host how it is."""

import json
import sys
from typing import Any

import click

from ..model.exits import Exit
from .socket_asking import DEFAULT_SOCKET, NoDaemon, ask_daemon


@click.command()
@click.option("--socket", "path", default=DEFAULT_SOCKET, show_default=True, help="The daemon's control socket.")
@click.option("--json", "as_json", is_flag=True, help="All of it, for scripts.")
def command(path: str, as_json: bool) -> None:
    """Devices, tenants on them now, log depth, stream, gaps."""
    try:
        told = ask_daemon(path)
    except NoDaemon as none:
        click.echo(str(none), err=True)
        sys.exit(Exit.UNAVAILABLE)
    click.echo(json.dumps(told, indent=2) if as_json else _in_words(told))


def _in_words(told: dict[str, Any]) -> str:
    log, uplink, attribution = told["log"], told["uplink"], told["attribution"]
    age_s = uplink["last_ack_age_s"]
    heard = "never acknowledged" if age_s is None else f"acknowledged {age_s:.1f} s ago"
    lines = [
        f"host {told['host_id']}, gputally {told['version']}, up {told['uptime_s']:.0f} s",
        *_log_in_words(log),
        f"uplink  {uplink['state']}, {uplink['endpoint'] or 'no collector'}, {heard}",
        *([f"        {_printable(uplink['last_error'])}"] if uplink.get("last_error") else []),
        *_fork_in_words(uplink.get("forks", 0), uplink.get("last_fork")),
        *_credentials_in_words(uplink.get("credentials")),
        f"owners  {attribution['processes']} processes, {attribution['unattributed']} without a tenant",
        *_rules_in_words(attribution.get("rules_from_collector")),
        *_clock_in_words(told),
        *_driver_in_words(told),
        *(line for alarm in told.get("alarms", ()) for line in _alarm_in_words(alarm)),
        "",
    ]
    return "\n".join(lines + [line for device in told["devices"] for line in _device_in_words(device)])


def _log_in_words(log: dict[str, Any]) -> list[str]:
    waiting = [f"        {log['waiting']} batches wait in memory for the disk"] if log.get("waiting") else []
    if log.get("undeclared_ns"):
        lost_s = log["undeclared_ns"] / 10**9
        waiting.append(f"        AT ITS CAP: {lost_s:.1f} s of GPU time was given up; a gap, told when there is room")
    if log.get("recovery"):
        waiting.append(f"        RECOVERED from damage: {_printable(log['recovery'])}")
    if log.get("trouble"):
        return [f"log     CANNOT BE READ: {log['trouble']}", *waiting]
    return [
        f"log     frames {log['first_seq']} to {log['last_seq']}, {log['unacked_frames']} not acknowledged, "
        f"{log['bytes'] / 2**20:.1f} of {log['cap_bytes'] / 2**20:.0f} MiB",
        *waiting,
    ]


# A daemon of the version before says nothing of these.


def _fork_in_words(forks: int, last: dict[str, Any] | None) -> list[str]:
    if not forks or last is None:
        return []
    goes_on = f"goes on in epoch {last['next_epoch']}" if last["next_epoch"] else "nothing is sent any more"
    return [f"        FORKED {forks} times since the daemon started, last: {_printable(last['why'])}; {goes_on}"]


def _rules_in_words(told: dict[str, Any] | None) -> list[str]:
    """Nothing where only the configuration's rules count."""
    if told is None:
        return []
    whose = "those of the configuration: the collector has sent none"
    lines = [f"rules   {told['version'] + ' of the collector' if told['version'] else whose}"]
    if told["refused"]:
        refused = f"{told['refused']['version']} ({told['refused']['at']}): {told['refused']['why']}"
        lines.append(f"        REFUSED {_printable(refused)}")
    return lines


def _credentials_in_words(told: dict[str, Any] | None) -> list[str]:
    """Nothing while all is well."""
    if told is None:
        return []
    lines = [f"TLS     CHANGED FILES ARE NOT USED: {told['trouble']}"] if told["trouble"] else []
    words = {
        "expires_soon": "expires on {not_after}",
        "expired": "EXPIRED on {not_after}",
        "not_yet_valid": "NOT VALID before {not_before}",
    }
    return lines + [
        f"TLS     {file['file']} {words[file['state']].format(**file)}"
        for file in told["files"]
        if file["state"] in words
    ]


def _clock_in_words(told: dict[str, Any]) -> list[str]:
    if "clock" not in told:
        return []
    suspended_s = told["clock"]["suspended_s"]
    return [f"clock   {told['clock']['state']}" + (f", suspended for {suspended_s:g} s" if suspended_s else "")]


def _driver_in_words(told: dict[str, Any]) -> list[str]:
    if told.get("driver", {"state": "held"})["state"] == "held":
        return []
    return [f"driver  {told['driver']['state']} since {told['driver']['since']}: gputally daemon resume ends that"]


def _alarm_in_words(alarm: dict[str, Any]) -> list[str]:
    what = [_printable(alarm["why"])] if alarm.get("why") else alarm["devices"]
    return [f"ALARM   {alarm['kind']} since {alarm['since']}:", *(f"        {line}" for line in what)]


def _device_in_words(device: dict[str, Any]) -> list[str]:
    seen = device["state"] if device["gap_reason"] is None else f"gap: {device['gap_reason']}"
    lines = [f"{device['uuid']}  {device['model']}  {seen}"]
    for on in device["tenants"]:
        project = f"/{on['project']}" if on["project"] else ""
        lines.append(f"    {on['tenant']}{project}  {on['workload'][:60]}  {on['processes']} processes")
    return lines


def _printable(text: str) -> str:
    """What a collector answered is its own choice: it may not steer the terminal."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
