"""A script told to a person: what this host is, and what goes wrong on it, in order."""

from collections.abc import Iterator

from .script import S, Script


def describe(script: Script) -> Iterator[str]:
    """Line by line."""
    minutes = script.length_ns // (60 * S)
    yield (
        f"seed {script.seed}: {minutes} minutes, a reading every {script.every_s:g} s ({script.idle_every_s:g} s idle, "
        f"{script.fine_s:g} s around faults), windows of {script.window_s} s"
    )
    for number, gpu in enumerate(script.gpus):
        has = [f"{sum(i.parent_id == gpu.device_id for i in script.instances)} MIG instances"] if gpu.mig else []
        has += ["accounting"] if gpu.accounting else []
        yield f"  GPU {number}: {gpu.device_id}{': ' if has else ''}{', '.join(has)}"
    yield f"  {len(script.processes)} processes of {len({p.job for p in script.processes})} workloads"
    for fault in sorted(script.faults, key=lambda each: each.at_ns):
        until = f" to {fault.until_ns / S:.3f}" if fault.until_ns > fault.at_ns else ""
        which = f" {_name(script, fault.device_id)}:" if fault.device_id else ""
        yield f"  {fault.at_ns / S:9.3f}{until} s:{which} {fault.words}"


def _name(script: Script, device_id: str) -> str:
    gpus = [gpu.device_id for gpu in script.gpus]
    return f"GPU {gpus.index(device_id)}" if device_id in gpus else device_id
