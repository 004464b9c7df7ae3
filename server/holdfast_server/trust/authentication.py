"""Authentication: finds the principal of a call by its metadata and its connection, before its request is parsed.

A call with an `authorization` header is decided by the token in it alone. A call without one is decided by the client's
certificate. Messages say what is wrong with the credentials, never the credentials themselves.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from holdfast_server.trust import certificates
from holdfast_server.trust.principal import Principal
from holdfast_server.trust.refusals import unauthenticated

HEADER = "authorization"
# https://www.rfc-editor.org/rfc/rfc6750#section-2.1; the name of a scheme has no case.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]{1,16384}=*)", re.IGNORECASE)


class Caller(Protocol):
    """The caller of a call, as its transport knows it.

    Attributes:
        headers: the call's metadata that is text, by lower-case key.

    """

    @property
    def headers(self) -> Mapping[str, str]: ...

    def certificate(self) -> Mapping[str, Iterable[bytes]]:
        """Return what gRPC knows of the client's verified certificate, by gRPC's own names; empty without one."""


class Authentication(Protocol):
    """Decides under which principal a call runs."""

    def at_once(self, caller: Caller) -> Principal | None:
        """Return the caller's principal if it is known without waiting, otherwise None.

        Raises:
            HoldfastError: UNAUTHENTICATED: the caller has no valid credentials.

        """

    async def principal_of(self, caller: Caller) -> Principal:
        """Return the caller's principal. Wait for whatever is needed to know it.

        Raises:
            HoldfastError: UNAUTHENTICATED: the caller has no valid credentials. OVERLOADED: too many callers wait.
                ISSUER_UNAVAILABLE: the keys of the tokens' issuer cannot be fetched.

        """

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever a caller that had valid credentials may have none any more. It must not raise."""


class Everybody:
    """Authentication that is off: every caller has the same principal.

    Args:
        principal: the principal.

    """

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def at_once(self, caller: Caller) -> Principal:
        """Return the principal."""
        return self._principal

    async def principal_of(self, caller: Caller) -> Principal:
        """Return the principal."""
        return self._principal

    def on_change(self, listener: Callable[[], None]) -> None:
        """Do nothing: there are no credentials."""


class Issuer(Protocol):
    """Knows the tokens that one issuer has made."""

    def issued(self, token: str) -> bool:
        """Return whether a token has the form of this issuer's tokens."""

    def at_once(self, token: str) -> Principal | None:
        """Return the principal of a token if it is known without waiting, otherwise None.

        Raises:
            HoldfastError: UNAUTHENTICATED.

        """

    async def principal_of(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            HoldfastError: UNAUTHENTICATED, OVERLOADED, ISSUER_UNAVAILABLE.

        """

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever a token that was valid may not be any more."""


class Credentials:
    """Authentication by tokens and client certificates.

    Args:
        issuers: those whose tokens are accepted.
        takes_certificates: whether a client certificate, which the connection has verified, is enough.

    """

    def __init__(self, issuers: Sequence[Issuer], *, takes_certificates: bool) -> None:
        self._issuers = issuers
        self._takes_certificates = takes_certificates

    def at_once(self, caller: Caller) -> Principal | None:
        """Return the caller's principal if it is known without waiting, otherwise None."""
        header = caller.headers.get(HEADER)
        if header is None:
            return self._by_certificate(caller)
        token = _token(header)
        return self._issuer_of(token).at_once(token)

    async def principal_of(self, caller: Caller) -> Principal:
        """Return the caller's principal. Wait until its issuer knows the token."""
        token = _token(caller.headers[HEADER])
        return await self._issuer_of(token).principal_of(token)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever a token that was valid may not be any more."""
        for issuer in self._issuers:
            issuer.on_change(listener)

    def _by_certificate(self, caller: Caller) -> Principal:
        found = certificates.principal_of(caller.certificate()) if self._takes_certificates else None
        if found is None:
            raise unauthenticated(f"the call has no credentials: expected {self._expected()}")
        return found

    def _issuer_of(self, token: str) -> Issuer:
        for issuer in self._issuers:
            if issuer.issued(token):
                return issuer
        raise unauthenticated(f"the server accepts no tokens of this kind: expected {self._expected()}")

    def _expected(self) -> str:
        accepted = [
            *(["metadata 'authorization: Bearer TOKEN'"] if self._issuers else []),
            *(["a client certificate with a name"] if self._takes_certificates else []),
        ]
        return " or ".join(accepted)


def _token(header: str) -> str:
    given = _BEARER.fullmatch(header)
    if given is None:
        raise unauthenticated("the metadata 'authorization' is malformed: expected 'Bearer TOKEN'")
    return given[1]
