"""daemon.toml: read whole, checked across keys, or refused before anything is touched."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..model.endpoint import Endpoint, parse_endpoint
from ..model.settings import BadSettings, Complaints
from ..model.settings_read import take_settings
from ..model.settings_value import show
from ..plugins.attribution.checks import check_plugins
from ..plugins.attribution.rule_reading import compile_rules
from ..plugins.attribution.rules import BadRules
from ..plugins.leases.lease_file import load_leases
from ..plugins.otel.target import parse_otlp
from ..plugins.signing_key import BadSigningKey, load_key_file
from ..plugins.tls import check_tls, locate_credentials
from ..plugins.toml_file import read_toml
from .config import AttributionConfig, DaemonConfig, LeasesConfig, LogConfig, TelemetryConfig, UplinkConfig

_HOST_ID = re.compile(r"[!-~]{1,255}", re.ASCII)
COLLECTORS_TABLES = ("intake", "ledger", "api")
"""Their variables may stand in the same environment, where both processes run on one host."""


def load_daemon_config(path: Path | None, environ: Mapping[str, str]) -> DaemonConfig:
    """The daemon's configuration: environment before file before default. No path: no file.

    Names of systemd credentials come out as paths. Raises BadSettings with every problem at once.
    """
    source = "" if path is None else str(path)
    complaints = Complaints(source, environ)
    config = take_settings(DaemonConfig, {} if path is None else read_toml(path), complaints, COLLECTORS_TABLES)
    config = replace(config, uplink=locate_credentials(config.uplink, environ))
    _check_host_id(config.host.id, complaints)
    _check_signing_key(config.log, complaints)
    _check_uplink(config.uplink, complaints)
    _check_attribution(config.attribution, complaints)
    _check_leases(config.leases, complaints)
    _check_telemetry(config.telemetry, complaints)
    complaints.settle()
    return config


def _check_host_id(host_id: str | None, complaints: Complaints) -> None:
    if host_id is not None and not _HOST_ID.fullmatch(host_id):
        complaints.refuse("host.id", f"is {show(host_id)}, must be 1 to 255 printable ASCII characters without spaces")


def _check_signing_key(log: LogConfig, complaints: Complaints) -> None:
    try:
        if log.signing_key is not None:
            load_key_file(Path(log.signing_key))
    except BadSigningKey as error:
        complaints.refuse("log.signing_key", str(error))


def _check_uplink(uplink: UplinkConfig, complaints: Complaints) -> None:
    endpoints = _parse_endpoints(uplink, complaints)
    if uplink.insecure_plaintext:
        _check_plaintext(uplink, endpoints, complaints)
    elif uplink.endpoints or uplink.ca or uplink.certificate or uplink.key:
        check_tls("uplink", uplink, complaints)


def _parse_endpoints(uplink: UplinkConfig, complaints: Complaints) -> list[Endpoint]:
    endpoints: list[Endpoint] = []
    for text in uplink.endpoints:
        try:
            endpoints.append(parse_endpoint(text))
        except ValueError as error:
            complaints.refuse("uplink.endpoints", str(error))
    return endpoints


def _check_plaintext(uplink: UplinkConfig, endpoints: list[Endpoint], complaints: Complaints) -> None:
    far = [str(endpoint) for endpoint in endpoints if not endpoint.is_loopback]
    if far and not uplink.insecure_plaintext_anywhere:
        complaints.refuse(
            "uplink.insecure_plaintext",
            f"is true and {', '.join(far)} is not on loopback: anyone between could read and forge usage; "
            "give ca, certificate and key, or set uplink.insecure_plaintext_anywhere = true as well",
        )


def _check_attribution(attribution: AttributionConfig, complaints: Complaints) -> None:
    for check in (lambda: check_plugins(attribution.plugins), lambda: compile_rules(attribution.rules)):
        try:
            check()
        except BadRules as bad:
            for problem in bad.problems:
                key, _, what = problem.partition(": ")
                complaints.refuse(f"attribution.{key}", what)


def _check_leases(leases: LeasesConfig, complaints: Complaints) -> None:
    """What is wrong in the lease file is told beside what is wrong in ours."""
    if leases.file is None:
        return
    try:
        load_leases(Path(leases.file))
    except BadSettings as bad:
        complaints.problems += bad.problems


def _check_telemetry(telemetry: TelemetryConfig, complaints: Complaints) -> None:
    try:
        if telemetry.otlp is not None:
            parse_otlp(telemetry.otlp)
    except ValueError as error:
        complaints.refuse("telemetry.otlp", str(error))
    try:
        if telemetry.prometheus is not None:
            parse_endpoint(telemetry.prometheus, lowest_port=0)
    except ValueError as error:
        complaints.refuse("telemetry.prometheus", str(error))
