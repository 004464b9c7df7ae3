"""Two calls of a page at the same time."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_First = TypeVar("_First")
_Second = TypeVar("_Second")


async def both(first: Coroutine[Any, Any, _First], second: Coroutine[Any, Any, _Second]) -> tuple[_First, _Second]:
    """Return the results of both. If one fails, the other one is cancelled and awaited, and the error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except* Exception as failed:  # noqa: BLE001 - the first error is raised below, by itself
        error = failed.exceptions[0]
    else:
        return one.result(), other.result()
    raise error
