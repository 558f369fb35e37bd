"""``gputally pki``: a small authority for a first deployment, so that nobody runs plaintext because TLS was hard."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ..model.exits import Exit
from .pki_files import (
    CA,
    Unusable,
    check_name,
    make_folder,
    pair_of,
    read_certificates,
    read_signer,
    replace,
    write_new,
)
from .pki_make import Kind, general_names, issue, kind_of, make_authority, names_in

_CA_DAYS: Final = 3650
_DAYS: Final = 397
_folder = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_days = click.option("--days", type=click.IntRange(1, 36_500), default=_DAYS, show_default=True, help="Valid for.")


def _in_words(run: Callable[..., None]) -> Callable[..., None]:
    """What cannot be done is one line, and exit code 66."""

    @wraps(run)
    def wrapped(*args: Any, **told: Any) -> None:
        try:
            run(*args, **told)
        except Unusable as unusable:
            click.echo(str(unusable), err=True)
            sys.exit(Exit.NO_INPUT)

    return wrapped


@click.group
def command() -> None:
    """Make an authority, and certificates for hosts and collectors. See docs/tls.md.

    Whoever can read FOLDER/ca.key can let anybody in: keep FOLDER on one machine, and off the hosts.
    """


@command.command
@_folder
@click.option("--name", default="gputally authority", show_default=True, help="What it is called.")
@click.option("--days", type=click.IntRange(1, 36_500), default=_CA_DAYS, show_default=True, help="Valid for.")
@_in_words
def init(folder: Path, name: str, days: int) -> None:
    """Make the authority in FOLDER: ca.pem for everybody, ca.key for nobody else."""
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise Unusable("--name must be 1 to 64 printable characters")
    make_folder(folder)
    certificate, key = write_new(folder, CA, made := make_authority(name, days))
    _tell(certificate, key, made.certificate)


@command.command("issue")
@_folder
@click.argument("name")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), required=True, help="What it is for.")
@click.option("--dns", multiple=True, help="A further DNS name or IP address, as it stands in uplink.endpoints.")
@click.option("--spiffe", multiple=True, help="A SPIFFE id, such as spiffe://example.com/host/gpu-01.")
@_days
@_in_words
def issue_command(folder: Path, name: str, kind: str, dns: tuple[str, ...], spiffe: tuple[str, ...], days: int) -> None:
    """Make FOLDER/NAME.pem and NAME.key: for a host NAME is its id, for a collector the name in uplink.endpoints."""
    check_name(name)
    try:
        names = general_names([name, *dns, *spiffe])
    except ValueError as bad:
        raise Unusable(str(bad)) from None
    made = issue(read_signer(folder), name, names, Kind(kind), days)
    certificate, key = write_new(folder, name, made)
    _tell(certificate, key, made.certificate)


@command.command
@_folder
@click.argument("name")
@_days
@_in_words
def renew(folder: Path, name: str, days: int) -> None:
    """Replace FOLDER/NAME.pem and NAME.key by new ones with the same names, from now on, with a new key."""
    check_name(name)
    before = read_certificates(pair_of(folder, name)[0])[0]
    kind = kind_of(before)
    if kind is None:
        raise Unusable(f"{pair_of(folder, name)[0]} is for neither a host nor a collector alone: was it made here?")
    made = issue(read_signer(folder), name, names_in(before), kind, days)
    certificate, key = replace(folder, name, made)
    _tell(certificate, key, made.certificate)


@command.command
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_in_words
def show(file: Path) -> None:
    """Say what each certificate in FILE is for, how long it is valid, and how it is revoked."""
    for certificate in read_certificates(file):
        click.echo("\n".join(_described(certificate)))


def _tell(certificate: Path, key: Path, made: x509.Certificate) -> None:
    click.echo(f"{certificate}  valid until {made.not_valid_after_utc:%Y-%m-%d}")
    click.echo(f"{key}  secret, mode 0600")


def _described(certificate: x509.Certificate) -> list[str]:
    names = [_printable(str(name.value)) for name in names_in(certificate)]
    return [
        f"subject     {_printable(certificate.subject.rfc4514_string())}",
        f"issuer      {_printable(certificate.issuer.rfc4514_string())}",
        f"for         {_purpose(certificate)}",
        f"names       {', '.join(names) or 'none'}",
        f"not before  {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%SZ}",
        f"not after   {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}",
        f"revoke by   serial:{certificate.serial_number:x}",
        f"            sha256:{certificate.fingerprint(hashes.SHA256()).hex()}",
        "",
    ]


def _purpose(certificate: x509.Certificate) -> str:
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "an authority"
    except x509.ExtensionNotFound:
        pass
    kind = kind_of(certificate)
    return "anything" if kind is None else f"a {kind}"


def _printable(text: str) -> str:
    """A certificate is anybody's choice: none may steer the terminal it is shown on."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
