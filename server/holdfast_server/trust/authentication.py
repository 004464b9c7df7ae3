"""Authentication: finds the principal of a call by its metadata and its connection, before its request is parsed."""

from collections.abc import Mapping
from typing import Protocol

from holdfast_server.trust.principal import Principal


class Caller(Protocol):
    """The caller of a call, as its transport knows it.

    Attributes:
        headers: the call's metadata that is text, by lower-case key.

    """

    @property
    def headers(self) -> Mapping[str, str]: ...


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
            HoldfastError: UNAUTHENTICATED: the caller has no valid credentials.

        """


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
