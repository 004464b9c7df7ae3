"""The clients of the callers: one for each token, kept while it is used and a while longer.

The number of clients is bounded. The one that was used longest ago gives way, and so does one whose certificates were
replaced; a client that a page still uses is closed when the page is done.
"""

import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from holdfast import TLS, AsyncClient, InvalidRequestError

from holdfast_server import SERVER_VERSION
from holdfast_server.console.settings import Settings

_CLIENTS = 64
# Seconds for a call of a page, retries included: whoever looks at a page waits for it.
CALL_SECONDS = 15.0

Token = str | Callable[[], str] | None


@dataclass(slots=True)
class _Kept:
    client: AsyncClient
    version: Sequence[object]
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
        before = self._kept.get(key)
        kept = self._kept[key] = self._newest(token, before)
        self._kept.move_to_end(key)
        kept.users += 1
        try:
            if before is not None and before is not kept:
                await _leave(before)
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
            await _leave(self._kept.popitem(last=False)[1])

    def _newest(self, token: Token, kept: _Kept | None) -> _Kept:
        """Return the client that is kept, or a new one if there is none or its files were replaced."""
        version = self._version()
        if kept is not None and kept.version == version:
            return kept
        try:
            return _Kept(self.made(token), version)
        except InvalidRequestError:
            # Files that cannot be used, such as a key that does not match its certificate yet, change nothing.
            if kept is None:
                raise
            return kept

    def _version(self) -> Sequence[object]:
        """Return what changes if a file of the connection to the target is replaced."""
        given = self._settings
        found: list[object] = []
        for name in (given.ca_file, given.client_cert_file, given.client_key_file):
            try:
                status = os.stat(name) if name else None
            except OSError:
                status = None
            found.append(status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        return found


async def _leave(kept: _Kept) -> None:
    """Close a client that is not kept any more, unless a page still uses it: the last page closes it."""
    kept.is_evicted = True
    if not kept.users:
        await kept.client.close()


def _key(token: Token) -> bytes:
    """Return the key of a token's client. The token itself is kept by the client alone."""
    return sha256(token.encode()).digest() if isinstance(token, str) else b"" if token is None else b"own"
