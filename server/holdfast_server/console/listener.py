"""The console on its address: uvicorn in the loop of this process, without its signal handlers and its log.

Connections, headers, bodies and times are bounded. A connection on which no request arrives in time is closed, and so
is one whose peer takes no more bytes.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from holdfast_server.console.app import create_app
from holdfast_server.console.certificate import kept_context
from holdfast_server.console.clients import Clients
from holdfast_server.console.settings import Settings
from holdfast_server.listen_address import bind_error, family

CONNECTIONS = 128
HEADER_BYTES = 64 << 10
_REQUEST_SECONDS = 10.0
_IDLE_SECONDS = 30
_DRAIN_SECONDS = 5
# More time until requests that have not ended by themselves are cancelled.
_CANCEL_SECONDS = 2
# Time after which the kernel drops a peer that takes no bytes.
_SILENT_PEER_MS = 30_000


class Listening:
    """A console that listens.

    Attributes:
        address: where it listens, host:port.
        url: where browsers find it.

    """

    def __init__(self, address: str, url: str, stop: Callable[[], None]) -> None:
        self.address = address
        self.url = url
        self._stop = stop

    def stop(self) -> None:
        """Accept no more connections. Requests in progress continue for a while."""
        self._stop()


@asynccontextmanager
async def listening(settings: Settings, *, drain_seconds: int = _DRAIN_SECONDS) -> AsyncIterator[Listening]:
    """Serve a console while the block runs.

    Args:
        settings: the settings.
        drain_seconds: how long requests in progress may continue at the end.

    Raises:
        ConsoleError: the certificate cannot be used.
        InvalidRequestError: the target, or how it is reached, is invalid.
        OSError: the address cannot be bound.

    """
    async with _context(settings) as context, Clients(settings) as clients:
        # A wrong target, token or certificate is an error of the start, not of the first page.
        async with clients.lent(settings.token):
            pass
        with _bound(settings.listen) as bound:
            app = create_app(settings, clients)
            config = uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                backlog=CONNECTIONS,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=drain_seconds + _CANCEL_SECONDS,
                h11_max_incomplete_event_size=HEADER_BYTES,
                ssl_context_factory=(lambda *_: context) if context is not None else None,
            )
            server = _Server(config)
            address = f"{settings.listen.rpartition(':')[0]}:{bound.getsockname()[1]}"
            serving = asyncio.create_task(server.serve(sockets=[bound]))

            def stop() -> None:
                server.should_exit = True
                app.end_within(drain_seconds)

            try:
                yield Listening(address, f"{'https' if context else 'http'}://{address}", stop)
            finally:
                stop()
                await serving


class _Server(uvicorn.Server):
    """A server of uvicorn that leaves the signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """A connection that is closed if it stays without a whole request for too long."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer is None and self._is_waiting:
            self._watch()

    @property
    def _is_waiting(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _watch(self) -> None:
        self._timer = self.loop.call_later(_REQUEST_SECONDS, self._end_if_waiting)

    def _end_if_waiting(self) -> None:
        self._timer = None
        if self._is_waiting:
            self.transport.abort()


def _context(settings: Settings) -> AbstractAsyncContextManager[ssl.SSLContext | None]:
    """Return the TLS of the console; None for plaintext."""
    return kept_context(settings) if settings.is_tls else nullcontext()


@contextmanager
def _bound(listen: str) -> Iterator[socket.socket]:
    host, _, port = listen.rpartition(":")
    with socket.socket(family(listen)) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_PEER_MS)
        try:
            bound.bind((host.strip("[]"), int(port)))
        except OSError as error:
            raise bind_error(listen, error.strerror or str(error)) from None
        # Whoever has read the address can connect at once, and waits until the server accepts.
        bound.listen(CONNECTIONS)
        yield bound
