"""Lists of workflows by their number, and the newest checkpoint of a workflow by the length of its log."""

import asyncio
import statistics
from collections.abc import AsyncIterator
from typing import Any

import holdfast

from benchmarks.measure import seconds_of

WORKFLOWS = (100, 10_000, 100_000)
CHECKPOINTS = (10, 100_000)
FORMAT = holdfast.Format("bench", 1)
_WRITERS = 64
_REPEATS = 20


async def fill_lists(target: str) -> None:
    """Save one checkpoint into each of many workflows, a namespace for each number of them."""
    async with holdfast.AsyncClient(target, timeout=600) as client:
        for count in WORKFLOWS:
            numbers = iter(range(count))

            async def write(numbers: Any = numbers, namespace: str = f"workflows-{count}") -> None:
                for number in numbers:
                    await client.save(namespace, f"{number:06}", b"state", format=FORMAT)

            await asyncio.gather(*(write() for _ in range(_WRITERS)))


async def fill_logs(target: str) -> None:
    """Save checkpoints into one workflow after the other, up to each length of a log."""
    async with holdfast.AsyncClient(target, timeout=600) as client:
        for count in CHECKPOINTS:
            for _ in range(count):
                await client.save("logs", f"{count}", b"state", format=FORMAT)


async def milliseconds_per_workflow(target: str) -> AsyncIterator[tuple[int, float]]:
    """Yield for each number of workflows the milliseconds that a complete list takes for one of them."""
    async with holdfast.AsyncClient(target, timeout=600) as client:
        for count in WORKFLOWS:
            found = 0

            async def list_all(namespace: str = f"workflows-{count}") -> None:
                nonlocal found
                found = 0
                async for _ in client.list_workflows(namespace):
                    found += 1

            repeats = max(1, 1000 // count)
            seconds = statistics.median([await seconds_of(list_all()) for _ in range(repeats + 1)])
            assert found == count, (found, count)
            yield count, seconds * 1000 / count


async def milliseconds_of_newest(target: str) -> AsyncIterator[tuple[int, float, float]]:
    """Yield for each length of a log the milliseconds of the first load of its newest checkpoint, and of a later one.

    The server must have been started after the log was written: it finds the newest checkpoint of the first load in
    the store.
    """
    async with holdfast.AsyncClient(target) as client:
        await client.capabilities()
        for count in CHECKPOINTS:
            first = await seconds_of(client.load("logs", f"{count}"))
            later = [await seconds_of(client.load("logs", f"{count}")) for _ in range(_REPEATS)]
            yield count, first * 1000, statistics.median(later) * 1000
