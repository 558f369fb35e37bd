"""Who may ask: bearer tokens, of which only hashes are kept.

[[tokens]]
name = "grafana"              # for the log
sha256 = "<64 hex digits>"    # printf %s "$TOKEN" | sha256sum
role = "auditor"              # operator | auditor | tenant
tenant = "acme"               # role tenant only: what it may see
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from ..model.settings import BadSettings, Problem, setting
from ..model.settings_read import read_settings
from ..plugins.toml_file import read_toml


class Role(StrEnum):
    OPERATOR = "operator"
    AUDITOR = "auditor"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Token:
    name: str = setting("", "what the log calls it", required=True)
    sha256: str = setting("", "hash of the token, 64 hexadecimal digits", required=True)
    role: Role = setting(Role.AUDITOR, "what it may do", choices=tuple(Role), required=True)
    tenant: str | None = setting(None, "role tenant: whose usage it may see")


@dataclass(frozen=True, slots=True)
class TokensFile:
    tokens: tuple[Token, ...] = setting((), "those who may ask")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose token is known, or anybody on loopback where there are no tokens."""

    name: str
    role: Role
    tenant: str | None = None


ANYBODY = Caller("anybody on this host", Role.OPERATOR)


def load_tokens(path: Path) -> tuple[Token, ...]:
    """Raises BadSettings that names the file and every wrong key."""
    tokens = read_settings(TokensFile, read_toml(path), {}, str(path)).tokens
    problems = [Problem(str(path), f"token {token.name}", what) for token in tokens if (what := _wrong(token))]
    if not tokens:
        problems.append(Problem(str(path), "tokens", "names nobody: write [[tokens]] with name, sha256 and role"))
    if problems:
        raise BadSettings(problems)
    return tokens


def _wrong(token: Token) -> str:
    if len(token.sha256) != 64 or set(token.sha256.lower()) - set("0123456789abcdef"):
        return 'sha256 must be 64 hexadecimal digits, as sha256sum prints: printf %s "$TOKEN" | sha256sum'
    if (token.role is Role.TENANT) != bool(token.tenant):
        return "tenant must be given for role tenant, and for no other"
    return ""


def find_caller(authorization: str | None, tokens: Sequence[Token]) -> Caller | None:
    """Whose token this Authorization header carries; None: nobody's."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        return None
    told = sha256(secret.strip().encode()).hexdigest()
    # All are compared, in constant time, so that the answer's time says nothing.
    found = [token for token in tokens if hmac.compare_digest(token.sha256.lower(), told)]
    return Caller(found[0].name, found[0].role, found[0].tenant) if found else None
