"""A greedy namespace: as many concurrent saves as a connection allows: `python -m benchmarks.greedy TARGET`.

It prints a line when it has begun, and saves until it is killed.
"""

import asyncio
import sys

import holdfast

_CALLERS = 256
_DATA = b"x" * 2048


async def _save(client: holdfast.AsyncClient, number: int) -> None:
    while True:
        await client.save("greedy", f"w{number}", _DATA, format=holdfast.Format("bench", 1))


async def _run(target: str) -> None:
    async with holdfast.AsyncClient(target, timeout=600) as client:
        await client.capabilities()
        print("begun", flush=True)
        async with asyncio.TaskGroup() as group:
            for number in range(_CALLERS):
                group.create_task(_save(client, number))


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
