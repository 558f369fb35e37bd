"""A rule set as text: what the collector keeps, what travels to a host, and what a host keeps of it."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

MOST_BODY_BYTES: Final = 128 * 1024
MOST_VERSION_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class RuleText:
    """``version`` is the operator's name for it, ``body`` the TOML. Whether they are any good is not known here."""

    version: str
    body: str

    @property
    def digest(self) -> bytes:
        """Of both: two ledgers may have used one name. 32 bytes."""
        return sha256(b"\0".join(text.encode(errors="surrogatepass") for text in (self.version, self.body))).digest()

    @property
    def is_too_large(self) -> bool:
        """Asked before anything else is done with it."""
        return len(self.version) > MOST_VERSION_CHARACTERS or len(self.body.encode(errors="surrogatepass")) > (
            MOST_BODY_BYTES
        )
