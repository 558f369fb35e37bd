"""What is opened before the first tick and closed after the last."""

import logging
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..model.settings import BadSettings, Problem
from ..plugins.attribution.attributor import CgroupAttributor
from ..plugins.notify import Notifier
from ..plugins.nvml.probe import check_namespaces
from ..plugins.otel import make_telemetry
from ..plugins.ports import Telemetry
from ..plugins.signing_key import BadSigningKey
from ..storage.wal import Log
from .amends import amends
from .attributing import open_attributor
from .claims import Claims, open_claims
from .collector_rules import CollectorRules, load_stored
from .config import DaemonConfig
from .control import close_control, open_control
from .host import derive_host_id, read_boot_id
from .host_lock import host_lock
from .signing import Signing

log = logging.getLogger(__name__)

MIB = 1024 * 1024


@dataclass(slots=True)
class Parts:
    config: DaemonConfig
    host_id: str
    boot_id: str
    log: Log
    signing: Signing | None
    attributor: CgroupAttributor
    rules: CollectorRules | None
    """None: only those of daemon.toml decide here."""
    claims: Claims
    telemetry: Telemetry | None
    control: socket.socket | None
    notifier: Notifier


@contextmanager
def opened(config: DaemonConfig) -> Generator[Parts]:
    """Opens every part, the host's lock first and the log last, so that a wrong setting touches nothing.

    Raises BadSettings, HostLocked, BadRules, TelemetryUnusable, ControlUnusable or LogUnusable.
    """
    attribution = config.attribution
    host_id, boot_id = config.host.id or derive_host_id(), read_boot_id(attribution.proc)
    _check_namespaces(attribution.proc)
    with ExitStack() as stack:
        stack.enter_context(host_lock(host_id, config.host.lock_folder))
        folder = Path(config.log.path)
        stored = load_stored(folder) if attribution.rules_from_collector else None
        attributor = open_attributor(attribution, None if stored is None else stored.rules)
        stack.callback(attributor.close)
        rules = CollectorRules(folder, attributor.take_rules, stored) if attribution.rules_from_collector else None
        claims = open_claims(config.leases)
        stack.callback(claims.close)
        telemetry = make_telemetry(config.telemetry, host_id)
        if telemetry is not None:
            stack.callback(telemetry.close)
        control = open_control(config.control.socket) if config.control.socket else None
        if control is not None:
            stack.callback(close_control, control)
        frames = Log.open(folder, host_id, config.log.cap_mib * MIB, mend=amends(host_id))
        stack.callback(frames.close)
        signing = _open_signing(config.log.signing_key, frames, host_id)
        yield Parts(
            config, host_id, boot_id, frames, signing, attributor, rules, claims, telemetry, control, Notifier()
        )


def _open_signing(path: str | None, frames: Log, host_id: str) -> Signing | None:
    """The file was good when the configuration was read; it may have changed since."""
    try:
        return None if path is None else Signing.open(Path(path), frames, host_id)
    except BadSigningKey as error:
        raise BadSettings([Problem("", "log.signing_key", str(error))]) from None


def _check_namespaces(proc: str) -> None:
    why = check_namespaces(proc)
    if why is not None:
        raise BadSettings([Problem("", "attribution.proc", why)])
