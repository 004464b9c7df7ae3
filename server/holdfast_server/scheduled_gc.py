"""Garbage collection on a schedule, in a running server.

Replicas need not agree on which of them collects: collections may run at the same time. Each replica waits for a random
part of the interval, so that they seldom do.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from holdfast_server import telemetry
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.each_workflow import Failure
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.base import StoreError, described, freeing_space

_LOG = logging.getLogger("holdfast.server")


@asynccontextmanager
async def collecting_garbage(log: Log, policies: Policies, interval_seconds: float) -> AsyncIterator[None]:
    """Collect garbage on a schedule while the block runs.

    Args:
        log: the log.
        policies: the retention of each namespace.
        interval_seconds: how often, on average; 0 for never.

    """
    if not interval_seconds:
        yield
        return
    task = asyncio.create_task(_collect_repeatedly(log, policies, interval_seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _collect_repeatedly(log: Log, policies: Policies, interval_seconds: float) -> None:
    while True:
        await asyncio.sleep(interval_seconds * random.uniform(0.5, 1.5))
        try:
            with freeing_space():
                collected = await sweep(log, policies, on_failed=_log_failure)
        except (HoldfastError, StoreError) as error:
            _LOG.warning("garbage collection failed and will be retried", extra={"error": described(error)})
            continue
        _LOG.info("garbage collected", extra=asdict(collected))
        for kind in ("retired", "markers", "blobs", "claims", "indexes", "records"):
            telemetry.COLLECTED.add(getattr(collected, kind), {"holdfast.collected": kind})


def _log_failure(prefix: str, error: Failure) -> None:
    _LOG.warning("a workflow could not be collected", extra={"prefix": prefix, "error": described(error)})
