"""Who may speak for a host: with mutual TLS, whoever's certificate names it by the site's rules.

A rule is a kind of name and a pattern: ``dns:{host}``, ``dns:{host}.gpu.example.com``,
``spiffe://example.com/host/{host}``, ``cn:{host}``, ``ip:{host}``. ``{host}`` is
the host's id, ``*`` anything; neither is ever empty. In a SPIFFE id ``{host}`` holds no ``/``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

_PROPERTIES: Final = {"dns": "peer_dns", "ip": "peer_ip", "cn": "x509_common_name", "spiffe": "peer_uri"}
"""What gRPC calls them in a call's authentication context (grpc/grpc_security_constants.h)."""
_SHAPE: Final = re.compile(r"(?:(?:dns|ip|cn):|(?=spiffe://))(?P<pattern>[!-~]+)", re.ASCII)
Auth = Mapping[str, Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """One place where a certificate may name its host."""

    kind: str
    pattern: "re.Pattern[str]"

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError, whose text says how it must be written."""
        found = _SHAPE.fullmatch(text)
        if found is None or text.count("{host}") != 1:
            raise ValueError(
                f'holds "{text}": write dns:, ip: or cn: and a pattern, or a pattern of a SPIFFE id, with one {{host}} '
                'in it, such as "dns:{host}.gpu.example.com" or "spiffe://example.com/host/{host}"'
            )
        kind = text.partition(":")[0]
        host = r"(?P<host>[^/]+)" if kind == "spiffe" else r"(?P<host>.+)"
        escaped = re.escape(found["pattern"]).replace(r"\*", ".+").replace(r"\{host\}", host)
        return cls(kind, re.compile(escaped, re.DOTALL))

    def hosts_of(self, auth: Auth) -> set[str]:
        names = (name.decode(errors="replace") for name in auth.get(_PROPERTIES[self.kind], ()))
        return {found["host"] for name in names if (found := self.pattern.fullmatch(name))}


def names_of(auth: Auth, rules: Sequence[IdentityRule]) -> set[str]:
    """Every host id that a peer with this certificate may use; ``auth`` is the call's authentication context."""
    return {host for rule in rules for host in rule.hosts_of(auth)}
