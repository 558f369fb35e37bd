"""Addresses as operators write them: host:port."""

import re
from dataclasses import dataclass

_SHAPE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]@]+)):(?P<port>[0-9]{1,5})", re.ASCII)
_LOOPBACK_V4 = re.compile(r"127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)
_HIGHEST_PORT = 65_535
_PASSWORD = re.compile(r"(://[^/@\s]*?):[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port; ``host`` without the brackets of an IPv6 address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True only for what cannot leave this host whatever a name server says, and for localhost."""
        return self.host in ("localhost", "::1") or bool(_LOOPBACK_V4.fullmatch(self.host))


def parse_endpoint(text: str, *, lowest_port: int = 1) -> Endpoint:
    """``gpu-01:7443``, ``10.0.0.1:7443`` or ``[::1]:7443``. ``lowest_port`` 0 is for what listens.

    Raises ValueError, whose text says how it must be written.
    """
    found = _SHAPE.fullmatch(text)
    if not found:
        raise ValueError(f'is "{text}", must be host:port, such as collector.example:7443 or [::1]:7443')
    port = int(found["port"])
    if not lowest_port <= port <= _HIGHEST_PORT:
        raise ValueError(f'is "{text}", its port must be from {lowest_port} to {_HIGHEST_PORT}')
    return Endpoint(found["v6"] or found["host"], port)


def without_password(address: str) -> str:
    """An address fit to be shown: what is shown gets pasted into tickets."""
    return _PASSWORD.sub(r"\1:***@", address)
