"""What a daemon is told: daemon.toml."""

from dataclasses import dataclass, field
from typing import Any

from ..model.settings import setting
from ..model.usage import POLICIES, Sharing
from ..model.window import WINDOW_LENGTHS_S


@dataclass(frozen=True, slots=True)
class HostConfig:
    id: str | None = setting(None, "name of this host in every record; default: derived from the machine id")
    lock_folder: str | None = setting(
        None,
        "folder of the lock that keeps a second daemon of this host off; default: /run/gputally, "
        "or one of its own for a user who cannot write that",
    )


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    every_s: float = setting(1.0, "cadence while anything holds a GPU", at_least=0.05, at_most=60)
    idle_every_s: float = setting(5.0, "cadence while nothing does; at least every_s", at_least=0.05, at_most=60)
    deadline_s: float = setting(2.0, "a driver call that takes longer is a gap", at_least=0.05, at_most=60)
    accounting: bool = setting(
        False, "switch the driver's accounting mode on where it is off; needs root, and holds for every program"
    )
    sys: str = setting("/sys", "where sysfs is mounted: it tells whether the driver was loaded anew")


@dataclass(frozen=True, slots=True)
class MeteringConfig:
    window_s: int = setting(60, "length of a window", choices=WINDOW_LENGTHS_S)
    sharing: Sharing = setting(Sharing.EQUAL, "how holders share a device", choices=POLICIES)


@dataclass(frozen=True, slots=True)
class LogConfig:
    path: str = setting("/var/lib/gputally/log", "folder of the write-ahead log")
    cap_mib: int = setting(512, "size of the log's file, reserved at once", at_least=8, at_most=1_048_576)
    at_cap: str = setting("refuse_new", "what gives way when it is full", choices=("refuse_new", "drop_oldest"))
    keep_acked_h: float = setting(48, "hours that acknowledged frames are kept, space permitting", at_least=0)
    signing_key: str | None = setting(None, "file of the key that signs the log; see signing.md")


@dataclass(frozen=True, slots=True)
class UplinkConfig:
    endpoints: tuple[str, ...] = setting((), "collectors as host:port, in order of preference")
    ca: str | None = setting(None, "file of the authority that signs collectors' certificates")
    certificate: str | None = setting(None, "file of this host's certificate chain")
    key: str | None = setting(None, "file of its private key")
    collector_name: str | None = setting(
        None, "DNS name in collectors' certificates, where it is not the name in endpoints"
    )
    expiry_warning_days: int = setting(
        30, "days before the certificate or the authority runs out from which on it is said", at_least=0, at_most=3650
    )
    linger_s: float = setting(5.0, "how long an idle stream stays open; inf: always", at_least=0)
    insecure_plaintext: bool = setting(False, "no TLS; refused for anything but loopback")
    insecure_plaintext_anywhere: bool = setting(False, "no TLS, and not only on loopback: anyone may read and forge")


@dataclass(frozen=True, slots=True)
class AttributionConfig:
    plugins: tuple[str, ...] = setting(
        ("kubernetes", "slurm", "docker", "podman", "systemd", "lease"), "sources of workload metadata"
    )
    proc: str = setting("/proc", "where procfs is mounted")
    cgroup: str = setting("/sys/fs/cgroup", "where cgroup file systems are mounted")
    process_connector: bool = setting(
        False, "follow all processes of the host, so that short ones are found; needs CAP_NET_ADMIN"
    )
    remember_s: int = setting(60, "seconds that processes are remembered which have ended", at_least=0, at_most=600)
    rules_from_collector: bool = setting(
        False, "whether the collector's rules take the place of these as soon as it has sent any; see attribution.md"
    )
    rules: tuple[dict[str, Any], ...] = setting((), "ordered rules; the first that matches names the tenant")


@dataclass(frozen=True, slots=True)
class LeasesConfig:
    file: str | None = setting(None, "lease file: who has which devices from when to when; see leases.md")


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    otlp: str | None = setting(None, "OTLP endpoint; gRPC, or HTTP where the port is 4318 or a path is given")
    prometheus: str | None = setting(None, "host:port of a Prometheus endpoint")


@dataclass(frozen=True, slots=True)
class ControlConfig:
    socket: str | None = setting("/run/gputally/daemon.sock", "unix socket that `gputally status` asks")


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    host: HostConfig = field(default_factory=HostConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    metering: MeteringConfig = field(default_factory=MeteringConfig)
    log: LogConfig = field(default_factory=LogConfig)
    uplink: UplinkConfig = field(default_factory=UplinkConfig)
    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    leases: LeasesConfig = field(default_factory=LeasesConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
