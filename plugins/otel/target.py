"""Where OTLP goes: what the address says about the protocol. Imports no exporter."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ...model.endpoint import without_password

_HTTP_PORT = 4318
_METRICS_PATH = "/v1/metrics"


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """gRPC to ``url``, or HTTP to the whole ``url``, path included."""

    url: str
    over_http: bool

    @property
    def is_secure(self) -> bool:
        return self.url.startswith("https:")


def parse_otlp(text: str) -> OtlpTarget:
    """gRPC by default; HTTP where the port is 4318 or there is a path, as in ``http://host:4318/v1/metrics``.

    Raises ValueError, whose text says how it must be written.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _unusable(text) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise _unusable(text)
    path = parts.path.rstrip("/")
    if port != _HTTP_PORT and not path:
        return OtlpTarget(_rebuilt(parts, ""), over_http=False)
    # The specification has exporters add the signal's path where only the base is given.
    return OtlpTarget(_rebuilt(parts, path or _METRICS_PATH), over_http=True)


def _rebuilt(parts: SplitResult, path: str) -> str:
    return f"{parts.scheme}://{parts.netloc}{path}"


def _unusable(text: str) -> ValueError:
    return ValueError(
        f'is "{without_password(text)}", must be http://host:port or https://host:port; '
        "gRPC, or HTTP where the port is 4318 or a path follows"
    )
