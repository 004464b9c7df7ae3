"""Garbage collection on a schedule, in a running server.

Replicas need not agree on which of them collects: collections may run at the same time. Each replica waits for a random
part of the interval, so that they seldom do.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial

from holdfast_server import telemetry
from holdfast_server.api.stored import Stored
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.each_workflow import Failure
from holdfast_server.protocol.maintenance.reports import Kind, Run
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.base import StoreError, described, freeing_space

_FIRST_SECONDS = 20.0
_LOG = logging.getLogger("holdfast.server")


@asynccontextmanager
async def collecting_garbage(
    log: Log, policies: Policies, interval_seconds: float, *, stored: Stored
) -> AsyncIterator[None]:
    """Collect garbage on a schedule while the block runs.

    Args:
        log: the log.
        policies: the retention of each namespace.
        interval_seconds: how often, on average; 0 for never.
        stored: takes the figures of what each namespace has in the store. If any has a quota of them, the first
            collection comes soon.

    """
    if not interval_seconds:
        yield
        return
    task = asyncio.create_task(_collect_repeatedly(log, policies, interval_seconds, stored))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _collect_repeatedly(log: Log, policies: Policies, interval_seconds: float, stored: Stored) -> None:
    pause_seconds = interval_seconds
    if stored.is_limited:
        # Until the first collection nothing is known of what the store has.
        pause_seconds = min(pause_seconds, _FIRST_SECONDS)
    while True:
        await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.5))
        pause_seconds = interval_seconds
        count = stored.counting()
        run = Run(Kind.COLLECTION, scheduled="true")
        try:
            with freeing_space():
                on_failed = partial(_note_failure, run)
                collected = await sweep(log, policies, on_failed=on_failed, on_counted=count.add)
        except (HoldfastError, StoreError) as error:
            _LOG.warning("garbage collection failed and will be retried", extra={"error": described(error)})
            continue
        count.finish()
        _LOG.info("garbage collected", extra=asdict(collected))
        telemetry.COLLECTION_END.set(time.time())
        for kind in ("retired", "markers", "blobs", "claims", "indexes", "records"):
            telemetry.COLLECTED.add(getattr(collected, kind), {"holdfast.collected": kind})
        try:
            await run.keep(log, asdict(collected))
        except (HoldfastError, StoreError) as error:
            _LOG.warning("the report of a collection could not be kept", extra={"error": described(error)})


def _note_failure(run: Run, prefix: str, error: Failure) -> None:
    run.failed(prefix, error)
    telemetry.UNCOLLECTED.add(1)
    _LOG.warning("a workflow could not be collected", extra={"prefix": prefix, "error": described(error)})
