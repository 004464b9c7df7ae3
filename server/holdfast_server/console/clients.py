"""The clients of the callers: one for each token, kept while it is used and a while longer.

The number of clients is bounded. The one that was used longest ago gives way; a client that a page still uses is closed
when the page is done.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from holdfast import TLS, AsyncClient

from holdfast_server import SERVER_VERSION
from holdfast_server.console.settings import Settings

_CLIENTS = 64
# Seconds for a call of a page, retries included: whoever looks at a page waits for it.
CALL_SECONDS = 15.0

Token = str | Callable[[], str] | None


@dataclass(slots=True)
class _Kept:
    client: AsyncClient
    users: int = 0
    is_evicted: bool = False


class Clients:
    """The clients of one console. An asynchronous context manager, which closes them all.

    Args:
        settings: how to reach the target.
        limit: how many clients to keep.

    """

    def __init__(self, settings: Settings, *, limit: int = _CLIENTS) -> None:
        self._settings = settings
        self._limit = limit
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        while self._kept:
            await self._kept.popitem()[1].client.close()

    def __len__(self) -> int:
        return len(self._kept)

    @asynccontextmanager
    async def lent(self, token: Token) -> AsyncIterator[AsyncClient]:
        """Lend the client of a token while the block runs.

        Raises:
            InvalidRequestError: the token cannot be sent, or would be sent in plaintext to another machine.

        """
        key = _key(token)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(self.made(token))
        self._kept.move_to_end(key)
        kept.users += 1
        try:
            await self._evict()
            yield kept.client
        finally:
            kept.users -= 1
            if kept.is_evicted and not kept.users:
                await kept.client.close()

    def made(self, token: Token) -> AsyncClient:
        """Return a new client of a token, which the caller closes.

        Raises:
            InvalidRequestError: as for `lent`.

        """
        given = self._settings
        tls: dict[str, Any] = {
            "ca_file": given.ca_file or None,
            "cert_file": given.client_cert_file or None,
            "key_file": given.client_key_file or None,
            "server_name": given.server_name or None,
        }
        return AsyncClient(
            given.target,
            timeout=CALL_SECONDS,
            producer=("holdfast-console", SERVER_VERSION),
            tls=TLS(**tls) if any(tls.values()) else None,
            token=token,
            insecure=given.token_insecure,
        )

    async def _evict(self) -> None:
        while len(self._kept) > self._limit:
            _, oldest = self._kept.popitem(last=False)
            oldest.is_evicted = True
            if not oldest.users:
                await oldest.client.close()


def _key(token: Token) -> bytes:
    """Return the key of a token's client. The token itself is kept by the client alone."""
    return sha256(token.encode()).digest() if isinstance(token, str) else b"" if token is None else b"own"
