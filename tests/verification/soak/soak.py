"""A soak: users, collections, and kills of servers and stores, all at once for some time; then the audit."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import holdfast

from tests.verification.soak.audit import audit, left_behind
from tests.verification.soak.ledger import Ledger
from tests.verification.soak.samples import Sample, growth, watch
from tests.verification.soak.users import User
from tests.verification.soak.world import GRACE_SECONDS, Store, World, with_log_lines

_USERS = {"keep": 6, "trim": 5, "rival": 3, "run": 5, "look": 8}
_PAUSE_SECONDS = 0.5


@dataclass
class Result:
    """The outcome of a soak.

    Attributes:
        ledger: the ledger of the users.
        wrong: the broken promises.
        events: how often each event struck the servers or the store.
        samples: memory and open files of the server that was never restarted.
        checked: the figures of fsck, two graces later.

    """

    ledger: Ledger
    wrong: list[str]
    events: dict[str, int]
    samples: list[Sample]
    checked: dict[str, int] = field(default_factory=dict)


async def soak(
    store: Store,
    seconds: float,
    *,
    pause_seconds: float,
    is_enough: Callable[[Ledger, Counter[str]], bool] = lambda ledger, events: True,
    before_audit: Callable[[Ledger], None] = lambda ledger: None,
) -> Result:
    """Run users and events for some time, then audit the store.

    Args:
        store: the store.
        seconds: the duration.
        pause_seconds: the pause between two events.
        is_enough: whether enough has happened. Until it has, the soak goes on: on a busy machine little happens.
        before_audit: for tests of the audit: changes the store or the ledger before it.

    """
    ledger = Ledger()
    over = asyncio.Event()
    async with World.running(store) as world, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(holdfast.AsyncClient(each, timeout=40)) for each in world.targets]
        async with asyncio.TaskGroup() as group:
            group.create_task(_end(over, seconds, lambda: is_enough(ledger, world.events)))
            start_users(group, clients, ledger, over.is_set)
            group.create_task(world.disturb(pause_seconds, over))
            watching = group.create_task(watch(world.steady.pid, min(2.0, seconds / 30), over.is_set))
        before_audit(ledger)
        wrong = ledger.broken + await audit(clients[0], ledger)
        # Objects that no marker names are dead by now. After two graces they must be gone.
        for _ in range(2):
            await asyncio.sleep(GRACE_SECONDS + 1)
            await world.collect()
        checked = await world.check()
        if checked["findings"] or checked["orphans"]:
            wrong.append(f"the check found {checked}")
        async with store.opened() as objects:
            wrong += await left_behind(objects, ledger)
        wrong += growth(watching.result())
        wrong = [with_log_lines(each, store.log) for each in wrong]
        return Result(ledger, wrong, dict(world.events), watching.result(), checked)


def start_users(
    group: asyncio.TaskGroup, clients: list[holdfast.AsyncClient], ledger: Ledger, is_over: Callable[[], bool]
) -> None:
    """Start all users. They go on until the time is up."""
    for what, how_many in _USERS.items():
        for number in range(how_many):
            user = User(f"{what}-{number}", clients, ledger, is_over)
            group.create_task(getattr(user, what)())


async def _end(over: asyncio.Event, seconds: float, is_enough: Callable[[], bool]) -> None:
    await asyncio.sleep(seconds)
    while not is_enough():  # noqa: ASYNC110 - users and events make it so, not one of them
        await asyncio.sleep(_PAUSE_SECONDS)
    over.set()
