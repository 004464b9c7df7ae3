"""Work on all workflows of a store, some at a time. A workflow that fails is reported, and does not stop the others.

If the store fails for several workflows in a row, the work ends with its error.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeGuard, TypeVar

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.maintenance.inventory import Inventory
from holdfast_server.protocol.maintenance.window import in_order
from holdfast_server.stores.base import StoreDamagedError, StoreError

_Result = TypeVar("_Result")

# How many workflows are worked on at a time, and how many results may wait for a slow one before them.
AT_ONCE = 16
AHEAD = 1000
_FAILURES_IN_A_ROW = 3
# Errors that are about the store rather than the workflow.
_OF_STORE = frozenset({Reason.COMMIT_UNKNOWN, Reason.STORE_UNAVAILABLE})

Failure = HoldfastError | StoreError


def _is_of_store(result: object) -> TypeGuard[Failure]:
    """Return whether a result is an error of the store, which may concern all workflows."""
    if isinstance(result, HoldfastError):
        return result.reason in _OF_STORE
    return isinstance(result, StoreError) and not isinstance(result, StoreDamagedError)


async def each_workflow(
    found: AsyncIterator[Inventory], work: Callable[[Inventory], Coroutine[Any, Any, _Result]]
) -> AsyncGenerator[tuple[str, _Result | Failure]]:
    """Yield the prefix of each workflow with the result of the work on it, or with the error that ended it, in order.

    Args:
        found: the workflows.
        work: the work on a workflow.

    Raises:
        HoldfastError: COMMIT_UNKNOWN of several workflows in a row, which are not yielded.
        StoreError: of several workflows in a row, or the store cannot be used.

    """

    async def attempt(inventory: Inventory) -> tuple[str, _Result | Failure]:
        try:
            return inventory.prefix, await work(inventory)
        except (HoldfastError, StoreError) as error:
            return inventory.prefix, error

    in_a_row: list[tuple[str, Failure]] = []
    async with aclosing(in_order(found, attempt, at_once=AT_ONCE, ahead=AHEAD)) as done:
        async for prefix, result in done:
            if _is_of_store(result):
                in_a_row.append((prefix, result))
                if len(in_a_row) == _FAILURES_IN_A_ROW:
                    raise result
                continue
            for failed in in_a_row:
                yield failed
            in_a_row.clear()
            yield prefix, result
        for failed in in_a_row:
            yield failed
