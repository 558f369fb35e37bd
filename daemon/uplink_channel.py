"""A channel to one collector, and what gRPC's errors mean to the one who must mend them.

Each stream has a channel of its own, made from the files that are in force: a
certificate that was renewed is simply there at the next connection.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import grpc

from ..plugins.tls_watch import Identity
from ..proto.v1 import uplink_pb2 as wire

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""A frame is a quarter of this at most; set on both sides, since the default of one protects nobody."""
CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A link that is half open: keepalive_timeout alone finds nothing on an idle one.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Ours are the retries, the backoff and the connections; nobody else's in this process.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
_METHOD: Final = f"/{wire.DESCRIPTOR.services_by_name['Uplink'].full_name}/Stream"
_REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_CAUSES: Final = tuple(
    (re.compile(mark, re.IGNORECASE | re.DOTALL), cause)
    for mark, cause in (
        ("certificate has expired", "its certificate, or the authority's, has expired"),
        ("not yet valid", "its certificate, or the authority's, is not valid yet: see the clocks of both machines"),
        ("certificate_verify_failed|signature", "its certificate is not signed by the authority in uplink.ca"),
        (
            "hostname verification|peer name",
            "its certificate is for another name than that in uplink.endpoints (or uplink.collector_name)",
        ),
        ("wrong_version_number", "it speaks no TLS on this port"),
        ("handshake failed", "the TLS handshake failed: see uplink.ca, uplink.certificate and uplink.key"),
        ("failed to connect.*socket closed", "it hung up: it does not accept uplink.certificate, or wants TLS"),
        ("connection refused", "connection refused: no collector listens there"),
        ("errors resolving|resolution failed", "the name cannot be resolved"),
    )
)
_MAX_DETAILS: Final = 200


class Call(Protocol):
    """What gRPC returns for a stream."""

    def __iter__(self) -> Iterator[wire.CollectorMessage]: ...

    def __next__(self) -> wire.CollectorMessage: ...

    def add_callback(self, callback: Callable[[], None]) -> bool: ...

    def cancel(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no stream. ``refused``: a collector answered, and does not want this host."""

    why: str
    refused: bool = False


def open_channel(endpoint: str, identity: Identity | None, collector_name: str | None) -> grpc.Channel:
    """Connects when it is first used. No identity: plaintext. ``collector_name``: UplinkConfig.collector_name."""
    if identity is None:
        return grpc.insecure_channel(endpoint, CHANNEL_OPTIONS)
    credentials = grpc.ssl_channel_credentials(identity.ca, identity.key, identity.certificate)
    name = (("grpc.ssl_target_name_override", collector_name),) if collector_name else ()
    return grpc.secure_channel(endpoint, credentials, (*CHANNEL_OPTIONS, *name))


def call_stream(channel: grpc.Channel, requests: Iterator[bytes]) -> Call:
    """As UplinkStub(channel).Stream, for messages that are serialized already."""
    method: Any = channel.stream_stream(_METHOD, bytes, wire.CollectorMessage.FromString)
    return cast(Call, method(requests))


def trouble_of(error: grpc.RpcError) -> Trouble:
    """In words that name a cause where it is a known one."""
    call = cast(grpc.Call, error)  # what a stream raises is both; the stubs know only one
    details = (call.details() or "").strip()
    for mark, cause in _CAUSES:
        if mark.search(details):
            return Trouble(cause)
    told = details.rpartition("last error: ")[2][:_MAX_DETAILS]
    return Trouble(f"{call.code().name.lower()}: {told}", refused=call.code() in _REFUSALS)
