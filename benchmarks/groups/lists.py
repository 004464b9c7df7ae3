"""Lists of workflows by their number, and the newest checkpoint of a workflow by the length of its log."""

import asyncio
import statistics
from collections.abc import Iterator, Sequence

import holdfast

from benchmarks import servers
from benchmarks.measure import seconds_of
from benchmarks.report import print_table
from benchmarks.setting import Setting

WORKFLOWS = (100, 10_000, 100_000)
CHECKPOINTS = (10, 100_000)
_FEWER = (100, 10_000), (10, 1_000)
FORMAT = holdfast.Format("bench", 1)
_WRITERS = 64
# How many workflows are listed in a round, at least.
_LISTED = 1000
_LOADS = 20


async def run(setting: Setting) -> None:
    """Measure and print them."""
    workflows, checkpoints = _FEWER if setting.is_quick else (WORKFLOWS, CHECKPOINTS)
    store = (setting.folder / "lists").as_uri()
    await fill(store, workflows, checkpoints)
    await measure(store, workflows, checkpoints, setting.effort.rounds)


async def fill(store: str, workflows: Sequence[int], checkpoints: Sequence[int]) -> None:
    """Fill a store.

    Args:
        store: the store.
        workflows: the numbers of workflows with one checkpoint, a namespace for each number.
        checkpoints: the numbers of checkpoints, a workflow for each number.

    """
    async with holdfast.AsyncClient(store, timeout=600) as client:

        async def write(names: Iterator[tuple[str, str]]) -> None:
            for namespace, workflow_id in names:
                await client.save(namespace, workflow_id, b"state", format=FORMAT)

        for count in workflows:
            numbers = ((f"workflows-{count}", f"{number:06}") for number in range(count))
            await asyncio.gather(*(write(numbers) for _ in range(_WRITERS)))
        for count in checkpoints:
            repeated = (("logs", f"{count}") for _ in range(count))
            await asyncio.gather(*(write(repeated) for _ in range(_WRITERS)))


async def measure(store: str, workflows: Sequence[int], checkpoints: Sequence[int], rounds: int) -> None:
    """Measure and print lists and loads of a store that was filled."""
    with servers.holdfast(store) as (target, _):
        each = await _microseconds_of_workflows(target, workflows, rounds)
    print("\nListWorkflows on file://\n")
    rows = [[f"{count}", f"{each[count]:.1f}", f"{each[count] / each[workflows[0]]:.2f}"] for count in workflows]
    print_table(["workflows", "time of one, µs", f"of that with {workflows[0]}"], rows)
    first: dict[int, list[float]] = {count: [] for count in checkpoints}
    later: dict[int, list[float]] = {count: [] for count in checkpoints}
    for _ in range(rounds):
        # A server that has just started looks for the newest checkpoint in the store.
        with servers.holdfast(store) as (target, _):
            async with holdfast.AsyncClient(target) as client:
                await client.capabilities()
                for count in checkpoints:
                    first[count].append(await seconds_of(client.load("logs", f"{count}")))
                for _ in range(_LOADS):
                    for count in checkpoints:
                        later[count].append(await seconds_of(client.load("logs", f"{count}")))
    print("\nnewest checkpoint on file://, milliseconds\n")
    rows = [
        [f"{count}", f"{statistics.median(first[count]) * 1e3:.2f}", f"{statistics.median(later[count]) * 1e3:.2f}"]
        for count in checkpoints
    ]
    print_table(["checkpoints", "first load after a start", "later ones"], rows)


async def _microseconds_of_workflows(target: str, workflows: Sequence[int], rounds: int) -> dict[int, float]:
    """Return the microseconds that a complete list takes for each workflow in it, by their number."""
    seconds: dict[int, list[float]] = {count: [] for count in workflows}
    async with holdfast.AsyncClient(target, timeout=600) as client:

        async def list_all(count: int, times: int) -> None:
            for _ in range(times):
                found = 0
                async for _ in client.list_workflows(f"workflows-{count}"):
                    found += 1
                assert found == count, (found, count)

        for _ in range(rounds):
            for count in workflows:
                times = max(1, _LISTED // count)
                seconds[count].append(await seconds_of(list_all(count, times)) / times / count)
    return {count: statistics.median(each) * 1e6 for count, each in seconds.items()}
