"""Page tokens on the wire: a token of the handler's own, after a mark of the namespace that it was issued for.

The mark is no secret: a caller that may read a namespace can begin a page at any place of it. It keeps the token of one
namespace from being taken for a place in another one.
"""

import base64
from hashlib import sha256

from holdfast_server.api.errors import InvalidRequestError

# Bytes of the digest; base64 makes 8 characters of them.
_DIGEST_BYTES = 6
_MARK_CHARACTERS = 8


def bind(namespace: str, token: str) -> str:
    """Return a token as callers receive it."""
    return f"{_mark(namespace)}{token}"


def unbind(namespace: str, token: str) -> str:
    """Return the token that was bound.

    Raises:
        InvalidRequestError: the token was not issued for this namespace.

    """
    if token[:_MARK_CHARACTERS] != _mark(namespace) or len(token) == _MARK_CHARACTERS:
        raise InvalidRequestError("page_token", "not issued by this service for this namespace")
    return token[_MARK_CHARACTERS:]


def _mark(namespace: str) -> str:
    return base64.urlsafe_b64encode(sha256(namespace.encode()).digest()[:_DIGEST_BYTES]).decode()
