"""Garbage collection of a whole store: the workflows in key order, some at a time.

A workflow that cannot be collected is reported and left as it is, and the others are collected. Any number of sweeps
may run concurrently. An interrupted sweep can be continued after the last position that it reported.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.checkpoints.workflows import owner_of
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.keys import namespace_of_prefix
from holdfast_server.protocol.log.compare_and_set import is_empty
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance import usage
from holdfast_server.protocol.maintenance.each_workflow import Failure, each_workflow
from holdfast_server.protocol.maintenance.gc import Collected, collect
from holdfast_server.protocol.maintenance.inventory import Inventory, inventories
from holdfast_server.stores.base import LeavesFiles, ObjectStore, StoreDamagedError, StoreUnavailableError

_CLOCKS = "clock/"
# A store's server refuses requests long before clocks differ by this.
_MOST_SKEW_SECONDS = 24 * 3600.0
_KEEP_ALL = Retention()


@dataclass(frozen=True, slots=True)
class Policies:
    """The retention of each namespace. The one of "*" applies to namespaces that are not named."""

    by_namespace: Mapping[str, Retention]

    def of(self, namespace: str) -> Retention:
        """Return the retention of a namespace."""
        return self.by_namespace.get(namespace) or self.by_namespace.get("*") or _KEEP_ALL


async def sweep(
    log: Log,
    policies: Policies,
    *,
    after: str = "",
    dry_run: bool = False,
    on_progress: Callable[[str, Collected], None] = lambda position, collected: None,
    on_failed: Callable[[str, Failure], None] = lambda prefix, error: None,
    on_counted: Callable[[str, int, bool], None] | None = None,
) -> Collected:
    """Collect the dead objects of every workflow. A workflow that cannot be collected is counted and left as it is.

    Args:
        log: the log.
        policies: the retention of each namespace.
        after: the position after which to begin; "" for the start.
        dry_run: whether to count only, and change nothing.
        on_progress: called with the position that was reached, and the sum so far.
        on_failed: called with the prefix of each workflow that could not be collected, and why.
        on_counted: called with the prefix of each workflow's namespace, the bytes of the workflow's objects that are
            left, and whether it has checkpoints.

    Raises:
        HoldfastError: COMMIT_UNKNOWN of several workflows in a row.
        StoreError: the store cannot be used, or its clock differs from this machine's by more than a day.

    """
    total = Collected()
    now = await store_time(log.store)
    _require_plausible(now)

    async def collected_of(inventory: Inventory) -> Collected:
        if on_counted is None:
            return await collected_only(inventory)
        stored_bytes = await usage.stored_bytes(inventory)
        has_checkpoints = True
        try:
            collected = await collected_only(inventory)
            stored_bytes -= collected.bytes
            keys = await owner_of(log, inventory.prefix)
            has_checkpoints = keys is not None and not is_empty(await log.known_head(keys))
            return collected
        finally:
            on_counted(namespace_of_prefix(inventory.prefix), stored_bytes, has_checkpoints)

    async def collected_only(inventory: Inventory) -> Collected:
        keys = await owner_of(log, inventory.prefix)
        if keys is None:
            return Collected(workflows=1)
        retention = policies.of(keys.namespace)
        return await collect(log, keys, retention, now, inventory=inventory, dry_run=dry_run)

    def count_damage(key: str, error: StoreDamagedError) -> None:
        on_failed(key, error)
        total.damaged += 1

    if isinstance(log.store, LeavesFiles) and not dry_run:
        try:
            total.files = await log.store.sweep_files(log.grace_seconds)
        except StoreDamagedError as error:
            count_damage("files of large objects", error)
    found = inventories(log.store, after=after, on_damaged=count_damage)
    async with aclosing(each_workflow(found, collected_of)) as done:
        async for position, collected in done:
            if isinstance(collected, Collected):
                total.add(collected)
            else:
                on_failed(position, collected)
                total.add(_left_alone(collected))
            on_progress(position, total)
    return total


def _left_alone(error: Failure) -> Collected:
    is_damaged = isinstance(error, HoldfastError) and error.reason is Reason.CHECKPOINT_CORRUPTED
    return Collected(workflows=1, damaged=is_damaged, failed=not is_damaged)


def _require_plausible(store_seconds: float) -> None:
    """Check a time of the store before it decides which objects are old and which checkpoints have expired.

    Raises:
        StoreUnavailableError: it is far from the time of this machine.

    """
    if abs(store_seconds - time.time()) > _MOST_SKEW_SECONDS:
        problem = "the store's clock differs from this machine's by more than a day, so that nothing can be collected"
        raise StoreUnavailableError(problem, detail=f"{problem}: it shows {store_seconds:.0f} seconds since 1970")


async def store_time(store: ObjectStore) -> float:
    """Return the time by the store's own clock, in seconds since the epoch: that of an object created now.

    Raises:
        StoreError: the store cannot be used, or lost the object.

    """
    key = f"{_CLOCKS}{unique()}"
    await store.put_if_absent(key, b"")
    try:
        listed = await store.list(_CLOCKS, start_after=key[:-1], limit=1)
        if not listed or listed[0].key != key:
            raise StoreUnavailableError("the store does not list an object that was just created")
        return listed[0].modified_seconds
    finally:
        await store.delete(key)
