"""Garbage collection on a schedule, in a server that serves meanwhile.

Replicas need not agree on who does it: collections may run at once. Each waits a random part of the interval, so that
they mostly do not.
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
async def keeping_house(log: Log, policies: Policies, interval_seconds: float) -> AsyncIterator[None]:
    """Collect garbage while the block runs.

    Args:
        log: the log.
        policies: what is kept.
        interval_seconds: how often; 0 for never.

    """
    if not interval_seconds:
        yield
        return
    task = asyncio.create_task(_keep_house(log, policies, interval_seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _keep_house(log: Log, policies: Policies, interval_seconds: float) -> None:
    while True:
        await asyncio.sleep(interval_seconds * random.uniform(0.5, 1.5))
        try:
            with freeing_space():
                collected = await sweep(log, policies, on_failed=_on_failed)
        except (HoldfastError, StoreError) as error:
            _LOG.warning("garbage collection failed; it is tried again", extra={"error": described(error)})
            continue
        _LOG.info("garbage collected", extra=asdict(collected))
        for what in ("retired", "markers", "blobs", "claims", "records"):
            telemetry.COLLECTED.add(getattr(collected, what), {"holdfast.collected": what})


def _on_failed(prefix: str, error: Failure) -> None:
    _LOG.warning("a workflow could not be collected", extra={"prefix": prefix, "error": described(error)})
