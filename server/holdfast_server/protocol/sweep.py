"""Garbage collection of a whole store: one workflow after the other in key order, a few at a time.

Any number of sweeps may run at once, and one that was cut off goes on behind the last position that it told.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.gc import Collected, collect
from holdfast_server.protocol.keys import WorkflowKeys, workflow_of
from holdfast_server.protocol.log import Log
from holdfast_server.protocol.retention import Retention
from holdfast_server.protocol.workflows import prefixes
from holdfast_server.stores.base import ObjectStore, StoreUnavailableError

ALL = "ns/"
_CLOCKS = "clock/"
_AT_ONCE = 8
_KEEP_ALL = Retention()


@dataclass(frozen=True, slots=True)
class Policies:
    """What each namespace keeps; what "*" says holds for those that are not named."""

    by_namespace: Mapping[str, Retention]

    def of(self, namespace: str) -> Retention:
        """The policy of a namespace."""
        return self.by_namespace.get(namespace) or self.by_namespace.get("*") or _KEEP_ALL


async def sweep(
    log: Log,
    policies: Policies,
    *,
    after: str = "",
    dry_run: bool = False,
    on_progress: Callable[[str, Collected], None] = lambda position, collected: None,
) -> Collected:
    """Collect what is dead in every workflow. One that is damaged is counted, and left alone.

    Args:
        log: the log.
        policies: what is kept.
        after: the position behind which to begin, "" for the start.
        dry_run: only tell what would be done.
        on_progress: told the position reached, and the sum so far.

    Raises:
        HoldfastError: COMMIT_UNKNOWN, LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    total = Collected()
    now = await store_time(log.store)
    window: list[str] = []

    async def finish_window() -> None:
        for each in await asyncio.gather(*(_collect_below(log, prefix, policies, now, dry_run) for prefix in window)):
            total.add(each)
        if window:
            on_progress(window[-1], total)
        window.clear()

    async for prefix in prefixes(log.store, ALL, after=after):
        window.append(prefix)
        if len(window) == _AT_ONCE:
            await finish_window()
    await finish_window()
    return total


async def store_time(store: ObjectStore) -> float:
    """The time by the store's own clock, in seconds since the epoch: that of an object made just now.

    Raises:
        StoreError: the store cannot be used, or lost the object.

    """
    key = f"{_CLOCKS}{uuid.uuid4().hex}"
    await store.put_if_absent(key, b"")
    try:
        listed = await store.list(_CLOCKS, start_after=key[:-1], limit=1)
        if not listed or listed[0].key != key:
            raise StoreUnavailableError("the store does not list what was just put into it")
        return listed[0].modified_seconds
    finally:
        await store.delete(key)


async def known_workflow(log: Log, prefix: str) -> WorkflowKeys | None:
    """The workflow with a prefix; None where nothing tells its name: it has no log, and the name is a long one.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED.

    """
    head = await log.head_below(prefix)
    return workflow_of(prefix) if head is None else WorkflowKeys(head.marker.namespace, head.marker.workflow_id)


async def _collect_below(log: Log, prefix: str, policies: Policies, now: float, dry_run: bool) -> Collected:
    try:
        keys = await known_workflow(log, prefix)
        if keys is None:
            return Collected(workflows=1)
        return await collect(log, keys, policies.of(keys.namespace), now, dry_run=dry_run)
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
        return Collected(workflows=1, damaged=1)
