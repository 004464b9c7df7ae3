"""From a commit to its watchers: watches, polling by hand, and LISTEN and NOTIFY of Postgres.

The time is that from the begin of a save until the last watcher has its entry. Postgres inserts the payload and
notifies in one transaction. Its watchers read nothing but the notification, which contains the revision.
"""

import asyncio
import statistics
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

import holdfast
import psycopg

from benchmarks import servers, subjects
from benchmarks.measure import seconds_of, tree_cpu_seconds
from benchmarks.report import print_table
from benchmarks.setting import Setting
from benchmarks.slow_link import SlowLink

WATCHERS = (1, 32)
_COMMITS = 20
_POLL_SECONDS = 0.1
_NAMESPACE = "bench"
_NOTIFY = "Postgres, LISTEN and NOTIFY"


@dataclass(frozen=True, slots=True)
class Watched:
    """A workflow under measurement.

    Attributes:
        commit: commits a checkpoint of 4 KiB.
        watchers: iterators that yield once for each commit.
        servers: the processes that serve it.

    """

    commit: Callable[[], Awaitable[object]]
    watchers: Sequence[AsyncGenerator[object, None]]
    servers: Sequence[int]


@dataclass(slots=True)
class Figure:
    """What was measured of one subject.

    Attributes:
        rounds: the median seconds of each round.
        server_seconds: the CPU time of the servers.
        commits: how many commits there were.

    """

    rounds: list[float] = field(default_factory=list)
    server_seconds: float = 0.0
    commits: int = 0


async def run(setting: Setting) -> None:
    """Measure and print them."""
    for watchers in WATCHERS:
        store = (setting.folder / f"watch-{watchers}").as_uri()
        with servers.holdfast(store) as one, servers.holdfast(store) as other:
            opened = _on_holdfast(one, other, watchers)
            if setting.postgres is not None:
                opened[_NOTIFY] = _on_postgres(setting.postgres.create_database(), setting.postgres.pid, watchers)
            await _compare("file://", watchers, opened, setting.effort.rounds)
    if setting.s3 is None:
        return
    for watchers in WATCHERS:
        store = f"s3://{setting.s3.bucket}/watch-{watchers}"
        with servers.holdfast(store) as one, servers.holdfast(store) as other:
            await _compare("s3://", watchers, _on_holdfast(one, other, watchers), setting.effort.rounds)
    await _count_requests(setting.s3.endpoint, f"s3://{setting.s3.bucket}/watch-requests", setting.effort.seconds)


def _on_holdfast(
    one: tuple[str, int], other: tuple[str, int], watchers: int
) -> dict[str, AbstractAsyncContextManager[Watched]]:
    """Return the ways to watch a workflow of two servers of the same store, of which the first one gets the saves."""
    return {
        "watch at the same server": _holdfast(one, one, watchers, _watched),
        "watch at another server": _holdfast(one, other, watchers, _watched),
        f"ListLog every {_POLL_SECONDS * 1e3:.0f} ms": _holdfast(one, one, watchers, _polled),
    }


@asynccontextmanager
async def _holdfast(
    written: tuple[str, int],
    read: tuple[str, int],
    watchers: int,
    watch: Callable[[holdfast.AsyncClient, str], AsyncGenerator[object, None]],
) -> AsyncIterator[Watched]:
    workflow_id = uuid.uuid4().hex
    async with holdfast.AsyncClient(written[0]) as writer, holdfast.AsyncClient(read[0]) as reader:

        async def commit() -> None:
            await writer.save(_NAMESPACE, workflow_id, subjects.PAYLOAD, format=subjects.FORMAT)

        # So that there is something to list.
        await commit()
        found = [watch(reader, workflow_id) for _ in range(watchers)]
        async with AsyncExitStack() as stack:
            for each in found:
                await stack.enter_async_context(aclosing(each))
            yield Watched(commit, found, sorted({written[1], read[1]}))


def _watched(client: holdfast.AsyncClient, workflow_id: str) -> AsyncGenerator[object, None]:
    return client.watch(_NAMESPACE, workflow_id, after_revision=1)


async def _polled(client: holdfast.AsyncClient, workflow_id: str) -> AsyncGenerator[object, None]:
    last = 1
    while True:
        page = await client.log_page(_NAMESPACE, workflow_id, after_revision=last)
        for entry in reversed(page.items):
            last = entry.revision
            yield entry
        await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def _on_postgres(url: str, pid: int, watchers: int) -> AsyncIterator[Watched]:
    async with AsyncExitStack() as stack:

        async def connect() -> psycopg.AsyncConnection[tuple[object, ...]]:
            opened = await psycopg.AsyncConnection.connect(url, autocommit=True)
            return await stack.enter_async_context(opened)

        writer = await connect()
        await writer.execute("CREATE TABLE log (revision bigserial PRIMARY KEY, payload bytea)")

        async def commit() -> None:
            async with writer.transaction():
                statement = "INSERT INTO log (payload) VALUES (%s) RETURNING revision"
                row = await (await writer.execute(statement, [subjects.PAYLOAD])).fetchone()
                assert row is not None
                await writer.execute("SELECT pg_notify('log', %s)", [str(row[0])])

        found: list[AsyncGenerator[object, None]] = []
        for _ in range(watchers):
            listener = await connect()
            await listener.execute("LISTEN log")
            found.append(await stack.enter_async_context(aclosing(listener.notifies())))
        yield Watched(commit, found, [pid])


async def _compare(
    store: str, watchers: int, opened: Mapping[str, AbstractAsyncContextManager[Watched]], rounds: int
) -> None:
    figures = {name: Figure() for name in opened}
    async with AsyncExitStack() as stack:
        found = {name: await stack.enter_async_context(each) for name, each in opened.items()}
        for each in found.values():
            await _seconds_of_a_commit(each)
        for _ in range(rounds):
            for name, each in found.items():
                figure = figures[name]
                used = sum(map(tree_cpu_seconds, each.servers))
                figure.rounds.append(statistics.median([await _seconds_of_a_commit(each) for _ in range(_COMMITS)]))
                figure.server_seconds += sum(map(tree_cpu_seconds, each.servers)) - used
                figure.commits += _COMMITS
    beside = _NOTIFY if _NOTIFY in figures else next(name for name in figures if name.startswith("ListLog"))
    print(f"\nfrom a save to its watchers on {store}, {watchers} {'watcher' if watchers == 1 else 'watchers'}\n")
    rows = [[name, *_cells(figure, figures[beside])] for name, figure in figures.items()]
    print_table(["", "ms", f"of {beside}", "CPU of servers, ms"], rows)


def _cells(figure: Figure, theirs: Figure) -> list[str]:
    ratio = statistics.median(ours / other for ours, other in zip(figure.rounds, theirs.rounds, strict=True))
    return [
        f"{statistics.median(figure.rounds) * 1e3:.1f}",
        f"{ratio:.2f}",
        f"{figure.server_seconds * 1e3 / figure.commits:.1f}",
    ]


async def _seconds_of_a_commit(watched: Watched) -> float:
    waiting = [asyncio.ensure_future(anext(each)) for each in watched.watchers]
    # A loop that polls is somewhere between two requests.
    await asyncio.sleep(_POLL_SECONDS / 2)

    async def commit_and_see() -> None:
        await watched.commit()
        await asyncio.gather(*waiting)

    return await seconds_of(commit_and_see())


async def _count_requests(endpoint: str, store: str, seconds: float) -> None:
    """Count and print what the watchers of one workflow request from the store while nothing happens."""
    print("\nrequests to the store in a second without a commit, 32 watchers of one workflow\n")
    rows = []
    with SlowLink.to(endpoint) as link:
        environment = {"AWS_ENDPOINT_URL_S3": link.url}
        for name, watch in (("watch", _watched), (f"ListLog every {_POLL_SECONDS * 1e3:.0f} ms", _polled)):
            with servers.holdfast(store, environment=environment) as served:
                async with _holdfast(served, served, WATCHERS[-1], watch) as watched:
                    waiting = [asyncio.ensure_future(anext(each)) for each in watched.watchers]
                    # By then the intervals of a watch have become as long as they get.
                    await asyncio.sleep(10)
                    link.requests.clear()
                    await asyncio.sleep(10 * seconds)
                    rows.append([name, f"{len(link.requests) / (10 * seconds):.1f}"])
                    await watched.commit()
                    await asyncio.gather(*waiting)
    print_table(["", "requests/s"], rows)
