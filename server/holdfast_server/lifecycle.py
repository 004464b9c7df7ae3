"""The life of a server process: it serves over gRPC until a signal stops it, drains and ends."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from holdfast_server import telemetry
from holdfast_server.api import grpc_methods
from holdfast_server.api.calls import Calls
from holdfast_server.api.pipeline.pipelines import Pipelines
from holdfast_server.config import Config
from holdfast_server.descriptors import max_connections
from holdfast_server.health import READY
from holdfast_server.listen_address import bind_error, is_loopback
from holdfast_server.open_authentication import open_authentication
from holdfast_server.open_service import open_service
from holdfast_server.reflection import enable_reflection
from holdfast_server.stores.base import ObjectStore
from holdfast_server.trust.authorization import authorizing

_LOG = logging.getLogger("holdfast.server")
_SERVING = health_pb2.HealthCheckResponse.SERVING
# Time for calls that the end of the drain cuts off to send their status.
_ANSWER_SECONDS = 0.5
_OPTIONS = (
    # Above the largest valid request, so that one that is a few megabytes too large gets an error that names its field.
    # A compressed message counts by its inflated size.
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 8 << 20),
    # A window that gRPC widens by itself fills with payload whenever the store is slower than the caller.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 << 20),
    # It would reset streams that the server itself admits.
    ("grpc.http.overload_protection", 0),
    # Allow the keepalive pings that the client sends.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Room for tokens and baggage. If the two limits differ, gRPC refuses at random between them.
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    # Close a connection without calls. Its caller reconnects for the next call.
    ("grpc.max_connection_idle_ms", 1_800_000),
    # By default keepalive stops after two pings without data, and a caller that vanished would keep its calls.
    ("grpc.http2.max_pings_without_data", 0),
)


@asynccontextmanager
async def serving(
    config: Config,
    store: ObjectStore,
    *,
    on_open: Callable[[Calls], None] = lambda calls: None,
    private_address: str = "",
) -> AsyncIterator[int]:
    """Run a server while the block runs, and drain it at the end.

    Args:
        config: the settings.
        store: the store.
        on_open: called with the calls of the server before it admits any.
        private_address: another address to serve on without TLS, which only this process can reach; "" for none.

    Yields:
        The port that it listens on.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.
        OSError: the server cannot listen on the address.
        ConfigError: other machines could reach the server in plaintext, or the file of tokens cannot be used.
        InvalidFileError: another file that a setting names cannot be read or is invalid.

    """
    config.require_protected_listen()
    healthy = health.aio.HealthServicer()

    async def set_ready(is_ready: bool) -> None:
        telemetry.STORE_READY.set(int(is_ready))
        await healthy.set(READY, _SERVING if is_ready else health_pb2.HealthCheckResponse.NOT_SERVING)

    async with (
        _credentials(config) as credentials,
        open_authentication(config) as authentication,
        authorizing(config.policy_file) as authorization,
        open_service(
            config,
            store,
            on_ready=set_ready,
            authentication=authentication,
            authorization=authorization,
        ) as (service, calls),
    ):
        on_open(calls)
        telemetry.STORE_READY.set(1)
        server = grpc.aio.server(options=_options(config))
        pipelines = Pipelines(service, calls, age_seconds=config.pipeline_age_seconds)
        grpc_methods.add_to_server(service, pipelines, server)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        enable_reflection(server, (grpc_methods.SERVICE_NAME, health.SERVICE_NAME), calls)
        try:
            if credentials is None:
                port = server.add_insecure_port(config.listen)
            else:
                port = server.add_secure_port(config.listen, credentials)
        except RuntimeError:
            raise bind_error(config.listen) from None
        if private_address:
            server.add_insecure_port(private_address)
        await server.start()
        for name in ("", grpc_methods.SERVICE_NAME, READY):
            await healthy.set(name, _SERVING)
        try:
            yield port
        finally:
            # Pipelines say so first: their callers send further calls to another server.
            pipelines.drain()
            calls.drain(config.drain_seconds)
            service.drain()
            await healthy.enter_graceful_shutdown()
            stopping = asyncio.create_task(server.stop(config.drain_seconds + _ANSWER_SECONDS))
            # A call that waits for its store may not end in time. The server does not wait for it.
            with suppress(TimeoutError):
                async with asyncio.timeout(config.drain_seconds + _ANSWER_SECONDS):
                    await calls.ended()
            # Health watches must not delay shutdown.
            await server.stop(_ANSWER_SECONDS)
            await stopping


@asynccontextmanager
async def _credentials(config: Config) -> AsyncIterator[grpc.ServerCredentials | None]:
    """Keep the credentials of the server up to date while the block runs; None for plaintext."""
    if not config.tls_cert_file:
        if not is_loopback(config.listen):
            _LOG.warning("other machines can reach the server in plaintext", extra={"address": config.listen})
        yield None
        return
    # A server without TLS does not need the memory that the library takes.
    from holdfast_server.trust.tls import TLSFiles, server_credentials  # noqa: PLC0415

    authorities = config.tls_client_ca_file if config.requires_client_certificates else ""
    async with server_credentials(TLSFiles(config.tls_cert_file, config.tls_key_file, authorities)) as credentials:
        yield credentials


def _options(config: Config) -> tuple[tuple[str, int], ...]:
    keepalive_ms = int(config.keepalive_seconds * 1000)
    return (
        *_OPTIONS,
        ("grpc.so_reuseport", int(config.workers > 1)),
        # Further calls of a connection wait in their caller: no connection can take all permits of the server.
        ("grpc.max_concurrent_streams", max(1, config.calls_in_flight // 2)),
        ("grpc.max_allowed_incoming_connections", max_connections(config.connections)),
        # End connections that never complete the handshake, and calls of callers that no longer answer pings.
        ("grpc.server_handshake_timeout_ms", keepalive_ms),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", keepalive_ms),
        # How long gRPC actually waits for the reply to a ping; a minute by default.
        ("grpc.http2.ping_timeout_ms", keepalive_ms),
    )


def stop_requested() -> asyncio.Event:
    """Return an event that the signals of `stop_signals` set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    return stop


def stop_signals() -> Sequence[signal.Signals]:
    """Return the signals that end a program gracefully: SIGTERM, SIGINT, and SIGHUP unless `nohup` ignores it."""
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    return [
        number for number in signals if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]
