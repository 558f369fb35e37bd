"""Who may speak for a host: whoever's certificate names it by the site's rules, and is not revoked."""

from collections.abc import Sequence

import grpc

from ..plugins.tls_certificate import BadCertificate, Certificate, read_certificates
from .identity_rule import Auth, IdentityRule, names_of
from .intake_stream import Refused
from .revoked import Revoked


def check_identity(host_id: str, auth: Auth, rules: Sequence[IdentityRule]) -> None:
    """Raises Refused if the certificate is not that of ``host_id``."""
    names = names_of(auth, rules)
    if host_id not in names:
        shown = ", ".join(sorted(names)) or "no host that a rule of intake.identity finds"
        raise Refused(
            grpc.StatusCode.PERMISSION_DENIED,
            f"the certificate names {shown}, not {host_id}: a host can write its own stream only",
        )


def check_revoked(host_id: str, auth: Auth, revoked: Revoked) -> None:
    """Raises Refused if the host or its certificate is on the list; also if the certificate cannot be read."""
    if not revoked:
        return
    try:
        certificate = certificate_of(auth)
    except BadCertificate as bad:
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, f"the certificate cannot be read: {bad}") from None
    if by := revoked.why(host_id, certificate):
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, f"{host_id} is revoked at the collector ({by})")


def certificate_of(auth: Auth) -> Certificate:
    """The peer's own. Raises BadCertificate."""
    found = read_certificates(next(iter(auth.get("x509_pem_cert", ())), b""))
    if not found:
        raise BadCertificate("there is none")
    return found[0]
