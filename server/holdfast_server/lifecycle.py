"""A server's life: it starts on its store, serves until it is told to stop, drains and ends."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from holdfast.v1 import checkpoint_service_pb2
from holdfast.v1.checkpoint_service_pb2_grpc import add_CheckpointServiceServicer_to_server

from holdfast_server.api.calls import Calls
from holdfast_server.api.malformed import MalformedRequests
from holdfast_server.api.service import CheckpointService
from holdfast_server.config import Config
from holdfast_server.descriptors import most_connections
from holdfast_server.health import READY
from holdfast_server.housekeeping import keeping_house
from holdfast_server.identity import StoreWatch
from holdfast_server.protocol.format.manifest import identify, open_layout
from holdfast_server.protocol.log.log import Log
from holdfast_server.reflection import enable_reflection
from holdfast_server.stores.base import ObjectStore

_SERVING = health_pb2.HealthCheckResponse.SERVING
_SERVICE = checkpoint_service_pb2.DESCRIPTOR.services_by_name["CheckpointService"].full_name
# For what calls that are ended at the end of the drain have to say.
_ANSWER_SECONDS = 0.5
_OPTIONS = (
    # Above what any request may have, so that one of a few megabytes too many gets an answer that says which field.
    # A compressed message counts by what it inflates to.
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 8 << 20),
    # A window that gRPC widens by its own measure fills with payload whenever the store is slower than the caller.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 << 20),
    # Would reset streams that the server's own count of calls in flight admits.
    ("grpc.http.overload_protection", 0),
    # Allows the keepalive that the SDK sends.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Tokens and baggage. Between the two limits gRPC refuses by chance.
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    # A connection without calls is not kept. Its caller connects again when it has one.
    ("grpc.max_connection_idle_ms", 1_800_000),
    # Else keepalive stops after two pings without data, and a caller that vanished would keep its calls.
    ("grpc.http2.max_pings_without_data", 0),
)


@asynccontextmanager
async def serving(config: Config, store: ObjectStore) -> AsyncIterator[int]:
    """A running server, and the port that it listens on. At the end it drains.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.
        OSError: the address cannot be listened on.

    """
    grace_seconds = await open_layout(store, grace_seconds=config.grace_seconds)
    identity = await identify(store)
    log = Log(store, cache_bytes=config.cache_bytes, grace_seconds=grace_seconds)
    server = grpc.aio.server(interceptors=[MalformedRequests()], options=_options(config))
    calls = Calls(
        limit=config.calls_in_flight,
        bytes_limit=config.bytes_in_flight,
        longest_seconds=config.longest_call_seconds,
    )
    service = CheckpointService(
        log,
        calls,
        inline_limit_bytes=config.inline_limit_bytes,
        payload_limit_bytes=config.payload_limit_bytes,
    )
    add_CheckpointServiceServicer_to_server(service, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    enable_reflection(server, (_SERVICE, health.SERVICE_NAME))
    try:
        port = server.add_insecure_port(config.listen)
    except RuntimeError:
        raise OSError(f"cannot listen on {config.listen}") from None
    await server.start()
    for name in ("", _SERVICE, READY):
        await healthy.set(name, _SERVING)
    try:

        async def set_ready(is_ready: bool) -> None:
            await healthy.set(READY, _SERVING if is_ready else health_pb2.HealthCheckResponse.NOT_SERVING)

        watch = StoreWatch(store, identity, calls.refuse, set_ready)
        calls.on_suspicion = watch.look_soon
        async with watch.watching(), keeping_house(log, config.policies, config.gc_interval_seconds):
            yield port
    finally:
        calls.drain(config.drain_seconds)
        await healthy.enter_graceful_shutdown()
        stopping = asyncio.create_task(server.stop(config.drain_seconds + _ANSWER_SECONDS))
        # A call whose store does not let go of it is left behind.
        with suppress(TimeoutError):
            async with asyncio.timeout(config.drain_seconds + _ANSWER_SECONDS):
                await calls.ended()
        # Who merely watches the health has no claim on the rest of the drain.
        await server.stop(_ANSWER_SECONDS)
        await stopping
        await service.close()


def _options(config: Config) -> tuple[tuple[str, int], ...]:
    keepalive_ms = int(config.keepalive_seconds * 1000)
    return (
        *_OPTIONS,
        ("grpc.so_reuseport", int(config.workers > 1)),
        # Further calls of a connection wait in their caller, which cannot take every place of the server.
        ("grpc.max_concurrent_streams", max(1, config.calls_in_flight // 2)),
        ("grpc.max_allowed_incoming_connections", most_connections(config.connections)),
        # A caller that never speaks is not waited for. One that vanished answers no ping, and its calls are ended.
        ("grpc.server_handshake_timeout_ms", keepalive_ms),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", keepalive_ms),
        # The time that gRPC really waits for the answer to a ping; a minute by default.
        ("grpc.http2.ping_timeout_ms", keepalive_ms),
    )


def told_to_stop() -> asyncio.Event:
    """Set by SIGTERM or SIGINT, and by SIGHUP unless it is ignored, as `nohup` has it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    return stop


def stop_signals() -> Sequence[signal.Signals]:
    """Return the signals that end a program in good order."""
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    return [each for each in signals if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN]
