"""Who may speak for a host: with mutual TLS, whoever's certificate names it."""

from collections.abc import Iterable, Mapping

import grpc

from .intake_stream import Refused


def check_identity(host_id: str, auth: Mapping[str, Iterable[bytes]]) -> None:
    """``auth`` is the call's authentication context. Raises Refused if the certificate is not that of ``host_id``.

    Accepted are a DNS name or other subject alternative name equal to the host_id, the last path
    component of a SPIFFE id, and the common name.
    """
    if host_id not in names_of(auth):
        shown = ", ".join(sorted(names_of(auth))) or "nothing"
        raise Refused(
            grpc.StatusCode.PERMISSION_DENIED,
            f"the certificate names {shown}, not {host_id}: a host can write its own stream only",
        )


def names_of(auth: Mapping[str, Iterable[bytes]]) -> set[str]:
    """Every host id that a peer with this certificate may use."""
    told = [*auth.get("x509_subject_alternative_name", ()), *auth.get("x509_common_name", ())]
    return {_host_name(each.decode(errors="replace")) for each in told}


def _host_name(name: str) -> str:
    return name.rsplit("/", 1)[-1] if name.startswith("spiffe://") else name
