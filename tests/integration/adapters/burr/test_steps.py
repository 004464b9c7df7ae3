"""Ownership of steps: applications that begin again, that two processes run, and whose parallel actions fail."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import holdfast
import pytest

from tests.integration.adapters.rivals import rival
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("burr")

from burr.core import ApplicationBuilder, Result, State, action, default, expr  # noqa: E402
from burr.core.graph import GraphBuilder  # noqa: E402
from burr.core.parallelism import MapStates, RunnableGraph  # noqa: E402
from holdfast.adapters.burr import AsyncHoldfastPersister, HoldfastPersister, workflow_id  # noqa: E402

NAMESPACE = "agents"
PROGRAM = "tests.integration.adapters.programs.burr_rival"


@pytest.fixture(scope="module")
def client(target):
    with holdfast.Client(target, timeout=20) as client:
        yield client


@pytest.fixture
def app_id(request):
    return request.node.name


@pytest.fixture(params=["exclusive", "shared"])
def ownership(request):
    return request.param


@action(reads=["day", "n"], writes=["n"])
def first(state: State) -> State:
    return state.update(n=1)


@action(reads=["day", "n"], writes=["n"])
def rest(state: State) -> State:
    return state.update(n=state["n"] + 1, by=state["day"])


def daily(persister, app_id: str, day: str):
    """Return an application that loads nothing and always has the same first step."""
    return (
        ApplicationBuilder()
        .with_actions(first, rest)
        .with_transitions(("first", "rest"), ("rest", "rest"))
        .with_identifiers(app_id=app_id, partition_key="p")
        .with_state(n=0)
        .with_entrypoint("first")
        .with_state_persister(persister)
        .build()
    ), day


def ran(persister, app_id: str, day: str, steps: int):
    application, day = daily(persister, app_id, day)
    application.update_state(application.state.update(day=day if steps > 1 else ""))
    for _ in range(steps):
        application.step()


def saved(persister, app_id, sequence_id, value, status="completed"):
    persister.save("p", app_id, sequence_id, "step", State({"value": value}), status)


@pytest.mark.parametrize("same_process", [True, False])
def test_an_application_that_begins_again_is_never_answered_with_the_steps_of_an_earlier_run(
    client, app_id, ownership, same_process
):
    yesterday = HoldfastPersister(client, namespace=NAMESPACE, ownership=ownership)
    for sequence_id in range(3):
        saved(yesterday, app_id, sequence_id, sequence_id)
    today = yesterday if same_process else HoldfastPersister(client, namespace=NAMESPACE, ownership=ownership)
    with pytest.raises(holdfast.CheckpointIdReusedError):
        saved(today, app_id, 0, 0)
    assert yesterday.load("p", app_id)["sequence_id"] == 2


def test_an_application_that_begins_again_after_its_own_load_is_refused_too(client, app_id, ownership):
    persister = HoldfastPersister(client, namespace=NAMESPACE, ownership=ownership)
    assert persister.load("p", app_id) is None
    for sequence_id in range(3):
        saved(persister, app_id, sequence_id, sequence_id)
    with pytest.raises(holdfast.CheckpointIdReusedError):
        saved(persister, app_id, 0, 0)


def test_a_real_application_with_a_fixed_id_that_is_not_loaded_is_refused_at_its_first_step(client, app_id):
    persister = HoldfastPersister(client, namespace=NAMESPACE)
    ran(persister, app_id, "yesterday", 3)
    with pytest.raises(holdfast.CheckpointIdReusedError):
        ran(HoldfastPersister(client, namespace=NAMESPACE), app_id, "yesterday", 3)
    assert persister.load("p", app_id)["state"]["n"] == 3


def test_with_shared_ownership_an_equal_newest_step_of_another_process_is_done(client, app_id):
    for sequence_id in range(3):
        for _ in range(2):
            saved(HoldfastPersister(client, namespace=NAMESPACE, ownership="shared"), app_id, sequence_id, sequence_id)
    assert len(list(client.list(NAMESPACE, workflow_id("p", app_id)))) == 3


def test_with_exclusive_ownership_an_equal_step_of_another_process_is_refused(client, app_id):
    one, other = (HoldfastPersister(client, namespace=NAMESPACE) for _ in range(2))
    for each in (one, other):
        assert each.load("p", app_id) is None
    saved(one, app_id, 0, 0)
    with pytest.raises(holdfast.RevisionConflictError):
        saved(other, app_id, 0, 0)
    saved(one, app_id, 1, 1)


def test_a_load_for_display_takes_nothing_from_a_run(client, app_id):
    persister, viewer = (HoldfastPersister(client, namespace=NAMESPACE) for _ in range(2))
    for sequence_id in range(4):
        saved(persister, app_id, sequence_id, sequence_id)
        viewer.load("p", app_id)
        thread = threading.Thread(target=persister.load, args=("p", app_id))
        thread.start()
        thread.join()
    assert persister.load("p", app_id)["sequence_id"] == 3


def test_an_overtaken_run_stays_overtaken_whatever_is_loaded_for_display(client, app_id):
    one, other = (HoldfastPersister(client, namespace=NAMESPACE) for _ in range(2))
    for each in (one, other):
        each.load("p", app_id)
    saved(one, app_id, 0, "one")
    thread = threading.Thread(target=other.load, args=("p", app_id))
    thread.start()
    thread.join()
    with pytest.raises(holdfast.RevisionConflictError):
        saved(other, app_id, 0, "other")


def test_an_application_may_be_deleted_and_begin_again(client, app_id, ownership):
    persister = HoldfastPersister(client, namespace=NAMESPACE, ownership=ownership)
    for sequence_id in range(3):
        saved(persister, app_id, sequence_id, sequence_id)
    client.delete_workflow(NAMESPACE, workflow_id("p", app_id))
    fresh = HoldfastPersister(client, namespace=NAMESPACE, ownership=ownership)
    saved(fresh, app_id, 0, 0)
    assert fresh.load("p", app_id)["sequence_id"] == 0


def test_an_invalid_ownership_is_refused(client):
    with pytest.raises(ValueError, match='ownership must be "shared" or "exclusive", not \'mine\''):
        HoldfastPersister(client, namespace=NAMESPACE, ownership="mine")


@pytest.mark.parametrize("names", [("a", "b"), ("same", "same")])
def test_of_two_processes_the_overtaken_one_is_refused_and_the_chain_of_the_other_is_whole(tmp_path, ownership, names):
    with (
        server((tmp_path / "store").as_uri()) as target,
        rival(PROGRAM, target, ownership, names[0]) as one,
        rival(PROGRAM, target, ownership, names[1]) as other,
    ):
        one.do("begin")
        one.do("step")
        assert other.do("begin") == [names[0]]
        for length in (2, 3):
            assert len(one.do("step")) == length
        refused = other.do("step")
        assert refused["error"] in ("RevisionConflictError", "CheckpointIdReusedError")
        if ownership == "exclusive":
            assert refused["error"] == "RevisionConflictError"
        assert one.do("step") == [names[0]] * 4
        with holdfast.Client(target) as client:
            chain = list(client.list("rivals", workflow_id("p", "app")))
        assert [each.checkpoint_id for each in chain] == ["3", "2", "1", "0"]
        # The other process begins again and overtakes the first.
        assert other.do("begin") == [names[0]] * 4
        for _ in range(2):
            other.do("step")
        assert one.do("step")["error"] == refused["error"]


# Event loops.


@action(reads=["n"], writes=["n"])
async def count(state: State) -> State:
    return state.update(n=state["n"] + 1)


def counting(persister, app_id):
    return (
        ApplicationBuilder()
        .with_actions(count)
        .with_transitions(("count", "count"))
        .with_identifiers(app_id=app_id, partition_key="p")
        .initialize_from(persister, resume_at_next_action=True, default_state={"n": 0}, default_entrypoint="count")
        .with_state_persister(persister)
    )


def test_one_persister_works_in_one_event_loop_after_another_with_a_client_made_outside_of_them(target, app_id):
    persister = AsyncHoldfastPersister(holdfast.AsyncClient(target), namespace=NAMESPACE)

    async def one_step():
        application = await counting(persister, app_id).abuild()
        return (await application.astep())[2]["n"]

    assert [asyncio.run(one_step()) for _ in range(3)] == [1, 2, 3]


def test_one_persister_works_in_the_event_loops_of_several_threads(target, app_id):
    persister = AsyncHoldfastPersister(holdfast.AsyncClient(target), namespace=NAMESPACE)

    async def steps(name):
        application = await counting(persister, name).abuild()
        for _ in range(5):
            state = (await application.astep())[2]
        return state["n"]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda n: asyncio.run(steps(f"{app_id} {n}")), range(8))) == [5] * 8


async def test_the_synchronous_persister_works_for_an_application_in_an_event_loop(client, app_id):
    persister = HoldfastPersister(client, namespace=NAMESPACE)
    application = counting(persister, app_id).build()
    for n in (1, 2):
        assert (await application.astep())[2]["n"] == n
    assert persister.load("p", app_id)["state"]["n"] == 2


# Parallel actions that fail, whose first attempt is still running when the second one begins.


def countdown(fails):
    @action(reads=["n", "left"], writes=["left"])
    async def down(state: State) -> State:
        await fails(state["n"], state["left"])
        return state.update(left=state["left"] - 1)

    graph = (
        GraphBuilder()
        .with_actions(down, done=Result("left"))
        .with_transitions(("down", "done", expr("left == 0")), ("down", "down", default))
        .build()
    )

    class Countdowns(MapStates):
        async def states(self, state, context, inputs):
            for n in range(6):
                yield state.update(n=n, left=3)

        def action(self, state, inputs):
            return RunnableGraph(graph, entrypoint="down", halt_after=["done"])

        async def reduce(self, state, states):
            return state.update(total=sum([each["left"] async for each in states]))

        def is_async(self):
            return True

        @property
        def reads(self):
            return []

        @property
        def writes(self):
            return ["total"]

    return Countdowns()


class RefusedError(Exception):
    pass


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_parallel_actions_that_fail_are_retried_in_one_process_until_they_succeed(target, app_id, kind):
    failures = {(1, 2), (3, 3), (4, 1), (4, 2)}

    async def fails(n, left):
        # The tasks alternate, so that those of a failed attempt are still running when the next attempt begins.
        for _ in range(n + 1):
            await asyncio.sleep(0)
        if (n, left) in failures:
            failures.discard((n, left))
            raise RefusedError

    async def attempt(persister):
        builder = (
            ApplicationBuilder()
            .with_actions(parallel=countdown(fails), done=Result("total"))
            .with_transitions(("parallel", "done"))
            .with_identifiers(app_id=app_id, partition_key="p")
            .initialize_from(persister, resume_at_next_action=True, default_state={}, default_entrypoint="parallel")
            .with_state_persister(persister)
        )
        application = await builder.abuild() if kind == "async" else builder.build()
        return (await application.arun(halt_after=["done"]))[2]

    async def until_it_succeeds(persister):
        found = None
        while found is None:
            with suppress(RefusedError):
                found = await attempt(persister)
        # The tasks of the first attempts must end before the test does.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
        return found

    if kind == "async":
        async with AsyncHoldfastPersister.from_target(target, namespace=NAMESPACE) as persister:
            state = await until_it_succeeds(persister)
    else:
        with HoldfastPersister.from_target(target, namespace=NAMESPACE) as persister:
            state = await until_it_succeeds(persister)
    assert state["total"] == 0
    assert not failures
