"""collector.toml: read whole, checked across keys, or refused before anything is touched."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..model.endpoint import Endpoint, parse_endpoint
from ..model.settings import BadSettings, Complaints
from ..model.settings_read import take_settings
from ..plugins.tls import check_tls, locate_credentials
from ..plugins.toml_file import read_toml
from .config import ApiConfig, CollectorConfig, IntakeConfig, SkuConfig
from .identity_rule import IdentityRule
from .revoked import read_revoked
from .skus import UNASSIGNED

DAEMONS_TABLES = ("host", "sampling", "metering", "log", "uplink", "attribution", "leases", "telemetry", "control")
"""Their variables may stand in the same environment, where both processes run on one host."""


def load_collector_config(path: Path | None, environ: Mapping[str, str]) -> CollectorConfig:
    """The collector's configuration: environment before file before default. No path: no file.

    Names of systemd credentials come out as paths. Raises BadSettings with every problem at once.
    """
    source = "" if path is None else str(path)
    complaints = Complaints(source, environ)
    config = take_settings(CollectorConfig, {} if path is None else read_toml(path), complaints, DAEMONS_TABLES)
    config = replace(config, intake=locate_credentials(config.intake, environ))
    _check_intake(config.intake, complaints)
    _check_api(config.api, complaints)
    _check_skus(config.skus, complaints)
    complaints.settle()
    return config


def _check_intake(intake: IntakeConfig, complaints: Complaints) -> None:
    listen = _parse_listen("intake.listen", intake.listen, complaints)
    if not intake.insecure_plaintext:
        check_tls("intake", intake, complaints)
        _check_identity(intake, complaints)
    elif listen is not None and not listen.is_loopback:
        complaints.refuse(
            "intake.insecure_plaintext",
            f"is true and intake.listen ({listen}) is not on loopback: anyone could read and forge usage; "
            "give ca, certificate and key, or listen on 127.0.0.1",
        )


def _check_identity(intake: IntakeConfig, complaints: Complaints) -> None:
    """The rules can be read, and there is one; the list of the revoked as well."""
    if not intake.identity:
        complaints.refuse("intake.identity", "is empty: no host could ever be let in")
    for rule in intake.identity:
        try:
            IdentityRule.of(rule)
        except ValueError as bad:
            complaints.refuse("intake.identity", str(bad))
    if intake.revoked is not None:
        _check_revoked(Path(intake.revoked), complaints)


def _check_revoked(path: Path, complaints: Complaints) -> None:
    try:
        read_revoked(path)
    except OSError as error:
        complaints.refuse("intake.revoked", f"{path} cannot be read: {error.strerror}")
    except ValueError as bad:
        complaints.refuse("intake.revoked", f"{path} {bad}")


def _check_api(api: ApiConfig, complaints: Complaints) -> None:
    listen = _parse_listen("api.listen", api.listen, complaints)
    if api.tokens is not None:
        _check_tokens(Path(api.tokens), complaints)
    elif listen is not None and not listen.is_loopback:
        complaints.refuse(
            "api.tokens",
            f"is missing and api.listen ({listen}) is not on loopback: anyone could read all usage; "
            "give a file of tokens, or listen on 127.0.0.1",
        )


def _check_tokens(path: Path, complaints: Complaints) -> None:
    try:
        read_toml(path)
    except BadSettings as bad:
        complaints.refuse("api.tokens", str(bad))


def _check_skus(skus: tuple[SkuConfig, ...], complaints: Complaints) -> None:
    for sku, times in Counter(skus).items():
        if sku.name == UNASSIGNED:
            complaints.refuse("skus", f'"{UNASSIGNED}" is reserved for what no SKU matches: give it another name')
        if times > 1 and sku.name and sku.gpu_model:
            complaints.refuse("skus", f'"{sku.name}" names {sku.gpu_model} {times} times: once is enough')


def _parse_listen(key: str, text: str, complaints: Complaints) -> Endpoint | None:
    """None: not known where, so that nothing can be said of what goes with it."""
    if complaints.is_unread(key):
        return None
    try:
        return parse_endpoint(text, lowest_port=0)
    except ValueError as error:
        complaints.refuse(key, str(error))
        return None
