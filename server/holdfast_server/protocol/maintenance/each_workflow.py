"""Work on all workflows of a store, some at a time: one that cannot be worked on is reported, and stops no other.

A store that fails for several workflows in a row fails as a whole, and ends the work.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.maintenance.inventory import Inventory
from holdfast_server.protocol.maintenance.window import in_order
from holdfast_server.stores.base import StoreError

_Result = TypeVar("_Result")

# How many workflows are worked on at a time, and how many may be done behind one that takes longer.
AT_ONCE = 16
AHEAD = 1000
_FAILURES_IN_A_ROW = 3
# Errors that say more of the store than of the workflow.
_OF_STORE = frozenset({Reason.COMMIT_UNKNOWN, Reason.STORE_UNAVAILABLE})

Failure = HoldfastError | StoreError


async def each_workflow(
    found: AsyncIterator[Inventory], work: Callable[[Inventory], Coroutine[Any, Any, _Result]]
) -> AsyncGenerator[tuple[str, _Result | Failure]]:
    """The prefix of each workflow with the result of the work on it, or with the error that it ended with, in order.

    Args:
        found: the workflows.
        work: what to do with each.

    Raises:
        HoldfastError: COMMIT_UNKNOWN of several workflows in a row. They are not among those that were given.
        StoreError: the same; the store cannot be used.

    """

    async def attempt(inventory: Inventory) -> tuple[str, _Result | Failure]:
        try:
            return inventory.prefix, await work(inventory)
        except (HoldfastError, StoreError) as error:
            return inventory.prefix, error

    in_a_row: list[tuple[str, Failure]] = []
    async with aclosing(in_order(found, attempt, at_once=AT_ONCE, ahead=AHEAD)) as done:
        async for prefix, result in done:
            if isinstance(result, StoreError) or (isinstance(result, HoldfastError) and result.reason in _OF_STORE):
                in_a_row.append((prefix, result))
                if len(in_a_row) == _FAILURES_IN_A_ROW:
                    raise result
                continue
            for each in in_a_row:
                yield each
            in_a_row.clear()
            yield prefix, result
        for each in in_a_row:
            yield each
