"""Static tokens: 256 random bits each, of which a file keeps the SHA-256, a name and an end.

The file is TOML:

    [[token]]
    name = "ci"
    sha256 = "…"
    expires = 2027-01-31T00:00:00Z

`expires` may be absent. Several tokens may have one name, so that a new one can replace an old one without a gap.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast_server.trust.principal import Principal
from holdfast_server.trust.refusals import unauthenticated
from holdfast_server.trust.watched_file import InvalidFileError, Watched, text_of

# How soon a token that was removed is refused.
CHECK_SECONDS = 1.0
# Scanners for secrets find tokens by it.
PREFIX = "hft_"
_RANDOM_BYTES = 32
# How much of a digest is used to look a token up.
_ID_BYTES = 6
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEYS = {"name", "sha256", "expires"}
_now = time.time


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token, as the file knows it.

    Attributes:
        name: the name of its principal, without "token:".
        digest: its SHA-256, 64 hex digits.
        expires: when it ends, with a time zone; None for never.

    """

    name: str
    digest: str
    expires: datetime | None

    @property
    def token_id(self) -> str:
        """The first digits of its digest, which distinguish it from other tokens of its name."""
        return self.digest[: 2 * _ID_BYTES]

    @property
    def principal(self) -> Principal:
        """Its principal."""
        name = f"token:{self.name}"
        return Principal(name, (name,), None if self.expires is None else self.expires.timestamp())


# By the first bytes of their digests: the tokens' digests and principals.
Known = Mapping[bytes, Sequence[tuple[bytes, Principal]]]


class StaticTokens:
    """The tokens of a file, as the issuer of tokens.

    Args:
        file: the newest valid content of the file.

    """

    def __init__(self, file: Watched[Known]) -> None:
        self._file = file

    def issued(self, token: str) -> bool:
        """Return whether a token has the form of a static one."""
        return token.startswith(PREFIX)

    def at_once(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            HoldfastError: UNAUTHENTICATED: the token is not in the file, or has expired.

        """
        principal = self._known(hashlib.sha256(token.encode()).digest())
        if principal is None:
            raise unauthenticated("the token is not known: it was never issued, or was removed")
        if principal.expires_at is not None and principal.expires_at <= _now():
            raise unauthenticated(f"the token of {principal.name!r} has expired")
        return principal

    async def principal_of(self, token: str) -> Principal:
        """Return the principal of a token."""
        return self.at_once(token)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever the tokens have changed."""
        self._file.on_change(listener)

    def _known(self, digest: bytes) -> Principal | None:
        for known, principal in self._file.value.get(digest[:_ID_BYTES], ()):
            if hmac.compare_digest(known, digest):
                return principal
        return None


def new_token(name: str, expires: datetime | None) -> tuple[str, StaticToken]:
    """Return a new token, and what the file keeps of it.

    Args:
        name: the name of its principal.
        expires: when it ends; None for never.

    Raises:
        InvalidFileError: the name is not allowed.

    """
    token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return token, StaticToken(_checked_name(name), hashlib.sha256(token.encode()).hexdigest(), expires)


def reader(path: str) -> Callable[[bytes], Known]:
    """Return a function that parses the content of a file of tokens, and checks that others cannot write the file."""

    def parse_file(data: bytes) -> Known:
        require_private(path)
        known: dict[bytes, list[tuple[bytes, Principal]]] = {}
        for token in parse(data):
            digest = bytes.fromhex(token.digest)
            known.setdefault(digest[:_ID_BYTES], []).append((digest, token.principal))
        return known

    return parse_file


def require_private(path: str) -> None:
    """Check that only its owner can write a file.

    Raises:
        InvalidFileError: others can, or the file does not exist.

    """
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise InvalidFileError(f"cannot read it: {error.strerror}") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidFileError(f"others can write it: expected mode 600 to 644, got {mode:o}")


def parse(data: bytes) -> list[StaticToken]:
    """Parse the content of a file of tokens.

    Raises:
        InvalidFileError: it is invalid.

    """
    try:
        given = tomllib.loads(text_of(data))
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"expected TOML: {error}") from None
    tables = given.get("token", [])
    if set(given) - {"token"} or not isinstance(tables, list):
        raise InvalidFileError(f"expected [[token]] tables only, got {', '.join(sorted(given))}")
    tokens = [_parsed(number, table) for number, table in enumerate(tables, 1)]
    if len({token.digest for token in tokens}) < len(tokens):
        raise InvalidFileError("two tokens have the same sha256")
    return tokens


def serialized(tokens: list[StaticToken]) -> bytes:
    """Return the content of a file of tokens."""
    lines = ["# Tokens of a Holdfast server, by their SHA-256. `holdfast-server token` writes this file."]
    for token in tokens:
        lines += ["", "[[token]]", f'name = "{token.name}"', f'sha256 = "{token.digest}"']
        if token.expires is not None:
            lines.append(f"expires = {token.expires.isoformat(timespec='seconds')}")
    return ("\n".join(lines) + "\n").encode()


def _parsed(number: int, table: Any) -> StaticToken:
    where = f"token {number}"
    if not isinstance(table, dict):
        raise InvalidFileError(f"{where}: expected a table")
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise InvalidFileError(f"{where}: unknown key {unknown[0]!r}: expected {', '.join(sorted(_KEYS))}")
    digest, expires = table.get("sha256"), table.get("expires")
    # The value is not shown: it may be a token that was put there in place of its digest.
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise InvalidFileError(f"{where}: sha256: expected 64 hex digits in lower case")
    if expires is not None and (not isinstance(expires, datetime) or expires.tzinfo is None):
        raise InvalidFileError(f"{where}: expires: expected a date and time with a time zone, got {expires!s}")
    try:
        return StaticToken(_checked_name(table.get("name")), digest, expires)
    except InvalidFileError as error:
        raise InvalidFileError(f"{where}: {error}") from None


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = name[:200] if isinstance(name, str) else name
        raise InvalidFileError(f"name: expected 1 to 128 letters, digits and ._@:/+-, got {shown!r}")
    return name
