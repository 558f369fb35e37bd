"""What a collector is told: collector.toml."""

from dataclasses import dataclass, field

from ..model.settings import setting


@dataclass(frozen=True, slots=True)
class IntakeConfig:
    listen: str = setting("0.0.0.0:7443", "host:port for the hosts' streams")
    ca: str | None = setting(None, "file of the authority that signs hosts' certificates")
    certificate: str | None = setting(None, "file of this collector's certificate chain")
    key: str | None = setting(None, "file of its private key")
    identity: tuple[str, ...] = setting(
        ("dns:{host}", "ip:{host}", "cn:{host}", "spiffe://*/{host}"),
        "where a certificate names its host; see tls.md",
    )
    revoked: str | None = setting(
        None, "file of certificates and hosts that are let in no more; read again when it changes; see tls.md"
    )
    expiry_warning_days: int = setting(
        30, "days before the certificate or the authority runs out from which on it is said", at_least=0, at_most=3650
    )
    reflection: bool = setting(False, "serve gRPC's standard reflection, for grpcurl and the like")
    insecure_plaintext: bool = setting(False, "no TLS; refused for anything but loopback")


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    path: str = setting("/var/lib/gputally/ledger", "folder of the SQLite log and the DuckDB projection")
    signing_key: str | None = setting(
        None, "file of the key that signs seals of periods (`gputally log new-key`); absent: seals are not signed"
    )


@dataclass(frozen=True, slots=True)
class ApiConfig:
    listen: str = setting("127.0.0.1:8080", "host:port of the HTTP API")
    tokens: str | None = setting(None, "file of bearer tokens; absent: loopback only, no authentication")
    requests_per_minute: int = setting(
        600, "of one token, or one address without; beyond it 429", at_least=1, at_most=1_000_000
    )
    concurrent_requests: int = setting(
        8, "of one token, or one address without, being answered at once; beyond it 429", at_least=1, at_most=512
    )
    access_log_days: int = setting(400, "days that rows of the access log are kept", at_least=1, at_most=36_500)


@dataclass(frozen=True, slots=True)
class SkuConfig:
    name: str = setting("", "what the SKU is called in answers", required=True)
    gpu_model: str = setting("", "GPU model it stands for; * matches anything", required=True)


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    intake: IntakeConfig = field(default_factory=IntakeConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
    skus: tuple[SkuConfig, ...] = ()
