"""The token by which a client's calls are known to its server. No I/O: `_async/tokens.py` and `_sync/tokens.py` get it.

A token is in no representation of an object, no error and no span.
"""

import re
from collections.abc import Awaitable, Callable

from holdfast._core import arguments, targets
from holdfast._core.errors import HoldfastError, of_reason

Token = str | Callable[[], str] | Callable[[], Awaitable[str]]
Metadata = tuple[tuple[str, str], ...]

HEADER = "authorization"
# https://www.rfc-editor.org/rfc/rfc6750#section-2.1, in at most half of the metadata that gRPC accepts.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")


class KeptToken:
    """The token of one client: given for good, or taken from a function and kept until a server refuses it.

    Args:
        token: the token, or a function that returns one.

    Attributes:
        metadata: what sends the token with a call; empty while there is none.
        source: the function; None if the token was given.

    Raises:
        InvalidRequestError: the token is not one that can be sent.
        TypeError: it is neither text nor a function.

    """

    def __init__(self, token: Token) -> None:
        self.metadata: Metadata = ()
        self.source: Callable[[], object] | None = None
        if callable(token):
            self.source = token
        else:
            self.take(token)

    def take(self, token: object) -> Metadata:
        """Keep a token, and return the metadata that send it.

        Raises:
            InvalidRequestError: it is not one that can be sent.
            TypeError: it is not text.

        """
        if not isinstance(token, str):
            raise TypeError(f"token must be text (str) or a function that returns text, not {type(token).__name__}")
        if not _TOKEN.fullmatch(token):
            raise arguments.invalid(
                "token", f"must be 1 to 16384 letters, digits and ._~+/-; what was given has {len(token)} characters"
            )
        self.metadata = ((HEADER, f"Bearer {token}"),)
        return self.metadata

    def refuse(self, metadata: Metadata) -> bool:
        """Forget the token that a call has sent, because it was refused. Return whether there may be another one."""
        if self.source is None:
            return False
        if self.metadata == metadata:
            self.metadata = ()
        return True


def require_private(target: str, *, insecure: bool) -> None:
    """Check that a token is not sent in plaintext to another machine, unless the caller allows it.

    Raises:
        InvalidRequestError: it would be.

    """
    if not insecure and not targets.is_loopback(target):
        raise arguments.invalid(
            "token",
            f"would be sent in plaintext to {target[:200]!r}, where others can read it: use TLS, or allow it with "
            "insecure=True (--insecure)",
        )


def source_failed(error: Exception) -> HoldfastError:
    """Return the error of a call whose token could not be had. The text of the cause might contain a secret."""
    return of_reason("UNAUTHENTICATED", f"token: the function that returns it raised {type(error).__name__}")


def source_late(seconds: float) -> HoldfastError:
    """Return the error of a call whose token was not there in time."""
    return of_reason("DEADLINE_EXCEEDED", f"token: the function that returns it took longer than {seconds:.3g} s")
