"""When certificates run out, told before they do: a deployment that stops on a day in the calendar is our fault."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from .tls import TlsFiles
from .tls_certificate import BadCertificate, Certificate, day_of, read_certificates

log = logging.getLogger(__name__)
_DAY_S: Final = 86_400
Chain = tuple[Certificate, ...]


class Validity(StrEnum):
    VALID = "valid"
    EXPIRES_SOON = "expires_soon"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"


@dataclass(frozen=True, slots=True)
class Term:
    """How long what a file holds is good for. ``key`` is that of the configuration: ca or certificate."""

    key: str
    file: str
    validity: Validity
    not_before_s: int
    not_after_s: int

    def __str__(self) -> str:
        match self.validity:
            case Validity.EXPIRED:
                return f"{self.file} expired on {day_of(self.not_after_s)}"
            case Validity.NOT_YET_VALID:
                return f"{self.file} is not valid before {day_of(self.not_before_s)}: see this machine's clock"
            case _:
                return f"{self.file} expires on {day_of(self.not_after_s)}"

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "key": self.key,
            "file": self.file,
            "state": self.validity,
            "not_before": day_of(self.not_before_s),
            "not_after": day_of(self.not_after_s),
        }


def certificates_in(pem: bytes) -> tuple[Certificate, ...]:
    """Nothing of what cannot be read: whether it is any good is OpenSSL's word, not ours."""
    try:
        return tuple(read_certificates(pem))
    except BadCertificate:
        return ()


def terms_of(files: TlsFiles, authorities: Chain, chain: Chain, now_s: float, warn_days: float) -> list[Term]:
    """Of the authorities and of our certificate chain, in this order; of neither if it is empty."""
    terms = (
        _term("ca", str(files.ca), _still_good(authorities, now_s), now_s, warn_days),
        _term("certificate", str(files.certificate), chain, now_s, warn_days),
    )
    return [term for term in terms if term is not None]


def _still_good(authorities: Chain, now_s: float) -> Chain:
    """An old authority that stays in the file after a change harms nobody, as long as there is another."""
    return tuple(each for each in authorities if now_s <= each.not_after_s) or authorities


def _term(key: str, file: str, chain: Chain, now_s: float, warn_days: float) -> Term | None:
    """A chain is as good as the first of its links that breaks."""
    if not chain:
        return None
    not_before_s, not_after_s = max(each.not_before_s for each in chain), min(each.not_after_s for each in chain)
    if now_s > not_after_s:
        validity = Validity.EXPIRED
    elif now_s < not_before_s:
        validity = Validity.NOT_YET_VALID
    else:
        soon = not_after_s - now_s <= warn_days * _DAY_S
        validity = Validity.EXPIRES_SOON if soon else Validity.VALID
    return Term(key, file, validity, not_before_s, not_after_s)


@dataclass(slots=True)
class Reminder:
    """Warns in the log of each file that is not simply valid: at once, and once a day until it is."""

    table: str
    """Of the configuration: uplink or intake."""
    _said_s: dict[tuple[str, Validity, int], float] = field(default_factory=dict[tuple[str, Validity, int], float])

    def look(self, terms: Iterable[Term], now_s: float) -> None:
        """``now_s`` by a clock that does not go back."""
        due = {(each.key, each.validity, each.not_after_s): each for each in terms if each.validity != Validity.VALID}
        self._said_s = {key: said_s for key, said_s in self._said_s.items() if key in due}
        for key, term in due.items():
            if now_s - self._said_s.get(key, float("-inf")) >= _DAY_S:
                self._said_s[key] = now_s
                level = logging.WARNING if term.validity is Validity.EXPIRES_SOON else logging.ERROR
                log.log(level, "%s.%s: %s: replace the file; no restart is needed", self.table, term.key, term)
