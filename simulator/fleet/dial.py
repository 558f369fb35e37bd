"""How hosts of the fleet reach the collector: its address, and who each of them is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import grpc
import grpc.aio

from ...daemon.uplink_channel import CHANNEL_OPTIONS


@dataclass(frozen=True, slots=True)
class Target:
    """Where the collector takes streams. No ``ca``: plaintext."""

    endpoint: str
    ca: bytes | None = None
    collector_name: str | None = None
    """The name in its certificate, if it is not that in ``endpoint``."""
    certificates: Mapping[str, tuple[bytes, bytes]] = field(default_factory=dict[str, tuple[bytes, bytes]])
    """(certificate, key) in PEM of each host, by its id."""

    def only(self, host_ids: list[str]) -> "Target":
        """The same for some of the hosts."""
        return replace(self, certificates={host_id: self.certificates[host_id] for host_id in host_ids if self.ca})

    def channel(self, host_id: str) -> grpc.aio.Channel:
        """A connection of this host's own, as its daemon would make it; connects when it is first used."""
        if self.ca is None:
            return grpc.aio.insecure_channel(self.endpoint, CHANNEL_OPTIONS)
        certificate, key = self.certificates[host_id]
        credentials = grpc.ssl_channel_credentials(self.ca, key, certificate)
        name = (("grpc.ssl_target_name_override", self.collector_name),) if self.collector_name else ()
        return grpc.aio.secure_channel(self.endpoint, credentials, (*CHANNEL_OPTIONS, *name))
