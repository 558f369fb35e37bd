"""Certificates for the hosts of a simulated fleet: from files, or signed on the spot where the authority's key is."""

from pathlib import Path
from typing import Final

from .pki_files import CA, Unusable, pair_of, read_signer
from .pki_make import Kind, general_names, issue

Pair = tuple[bytes, bytes]
"""(certificate, key) in PEM."""
_MOST_DAYS: Final = 397


def certificates_for(folder: Path, host_ids: list[str], days: int) -> dict[str, Pair]:
    """Those in ``folder``; what is missing is signed for so many days and kept in memory. Raises Unusable."""
    missing = [host_id for host_id in host_ids if not all(path.exists() for path in pair_of(folder, host_id))]
    if missing and not pair_of(folder, CA)[1].exists():
        raise Unusable(
            f"{folder} has no {missing[0]}.pem and {missing[0]}.key, nor {CA}.key to sign them with: "
            f"gputally pki issue {folder} {missing[0]} --kind host, or a folder of gputally pki init"
        )
    try:
        found = {host_id: _read(folder, host_id) for host_id in host_ids if host_id not in set(missing)}
    except OSError as error:
        raise Unusable(f"{error.filename} cannot be read: {error.strerror}") from None
    return found | (_signed(folder, missing, min(days, _MOST_DAYS)) if missing else {})


def _read(folder: Path, host_id: str) -> Pair:
    certificate, key = pair_of(folder, host_id)
    return certificate.read_bytes(), key.read_bytes()


def _signed(folder: Path, host_ids: list[str], days: int) -> dict[str, Pair]:
    signer = read_signer(folder)
    made = {host_id: issue(signer, host_id, general_names([host_id]), Kind.HOST, days) for host_id in host_ids}
    return {host_id: (issued.certificate_pem, issued.key_pem) for host_id, issued in made.items()}
