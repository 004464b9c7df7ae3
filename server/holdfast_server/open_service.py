"""The service of a store, without a transport: the API, the watch of the store and scheduled collections.

A server puts gRPC in front of it (`lifecycle`), a program that embeds it calls it in its own process (`embedded`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from holdfast_server.api.calls import Calls
from holdfast_server.api.context import StoreFacts
from holdfast_server.api.metering import Meter
from holdfast_server.api.service import CheckpointService
from holdfast_server.api.stored import Stored
from holdfast_server.api.watching.feed import Pace
from holdfast_server.config import Config, ConfigError
from holdfast_server.config_sources import published
from holdfast_server.keyed import open_keyed
from holdfast_server.protocol.format.manifest import identify
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.encoding import PartEncoder
from holdfast_server.scheduled_gc import collecting_garbage
from holdfast_server.store_watch import StoreWatch
from holdfast_server.stores.base import ObjectStore
from holdfast_server.trust.audit import AuditLog, auditing
from holdfast_server.trust.authentication import Authentication
from holdfast_server.trust.authorization import Authorization
from holdfast_server.trust.quotas import Quotas, parse
from holdfast_server.trust.watched_file import InvalidFileError, Watched, watched


@asynccontextmanager
async def open_service(
    config: Config,
    store: ObjectStore,
    *,
    on_ready: Callable[[bool], Awaitable[None]],
    authentication: Authentication,
    authorization: Authorization | None = None,
) -> AsyncIterator[tuple[CheckpointService, Calls]]:
    """Open the service of a store. The caller ends all calls before it leaves the block.

    Args:
        config: the settings.
        store: the store.
        on_ready: called with whether the store works, each time that this changes.
        authentication: finds the principal of each call.
        authorization: decides what each principal may do; None if all may do everything.

    Yields:
        The service, and the calls that it has admitted.

    Raises:
        ConfigError: the audit log cannot be opened, or the quotas or the keys for MACs are invalid.
        HoldfastError: LAYOUT_UNSUPPORTED; CHECKPOINT_CORRUPTED of the manifest.
        StoreError: the store cannot be used.

    """
    store, layout = await open_keyed(store, config)
    identity = await identify(store)
    log = Log(
        store,
        cache_bytes=config.cache_bytes,
        grace_seconds=layout.grace_seconds,
        marker_version=layout.marker_version,
    )
    async with _auditing(config) as audit, _limiting(config) as quotas:
        stored = Stored(Quotas if quotas is None else lambda: quotas.value)
        calls = Calls(
            limit=config.calls_in_flight,
            bytes_limit=config.bytes_in_flight,
            longest_seconds=config.longest_call_seconds,
            authentication=authentication,
            authorization=authorization or Authorization(),
            audit=audit,
            fair_calls=config.fair_calls,
            meter=None if quotas is None else Meter(lambda: quotas.value),
        )
        service = CheckpointService(
            log,
            calls,
            PartEncoder(
                store, config.delta_rules, Bases(config.base_bytes), inline_limit_bytes=config.inline_limit_bytes
            ),
            payload_limit_bytes=config.payload_limit_bytes,
            stored=stored,
            facts=StoreFacts(config.store, published(config)),
            pace=Pace(config.watch_fastest_seconds, config.watch_slowest_seconds),
            watch_seconds=config.pipeline_age_seconds,
        )
        watch = StoreWatch(store, identity, calls.refuse, on_ready)
        calls.on_suspicion = watch.check_soon
        try:
            async with (
                watch.watching(),
                collecting_garbage(log, config.policies, config.gc_interval_seconds, stored=stored),
            ):
                yield service, calls
        finally:
            await service.close()


@asynccontextmanager
async def _auditing(config: Config) -> AsyncIterator[AuditLog | None]:
    """Open the audit log while the block runs."""
    async with AsyncExitStack() as stack:
        try:
            audit = await stack.enter_async_context(auditing(config.audit_log, config.audit_rules))
        except OSError as error:
            raise ConfigError(f"audit_log: cannot open {config.audit_log!r}: {error.strerror}") from None
        yield audit


@asynccontextmanager
async def _limiting(config: Config) -> AsyncIterator[Watched[Quotas] | None]:
    """Read the quotas while the block runs."""
    async with AsyncExitStack() as stack:
        quotas = None
        if config.quotas_file:
            try:
                quotas = await stack.enter_async_context(watched(config.quotas_file, parse))
            except InvalidFileError as error:
                raise ConfigError(f"quotas_file: {config.quotas_file!r}: {error}") from None
            if quotas.value.limit_stored and not config.gc_interval_seconds:
                raise ConfigError(
                    "gc_interval_seconds: must not be 0 with quotas of what is stored: collections count it"
                )
        yield quotas
