"""The checkpoint storage for Agent Framework: its interface, its guarantees, and real workflows that are killed."""

import asyncio
import copy
import inspect
import json
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import holdfast
import pytest

from tests.integration.adapters import kill_points, killing, pages
from tests.support.damage import damage_marker, damage_newest
from tests.support.required import require_engine
from tests.support.servers import server
from tests.support.watched import serving_watched

require_engine("agent_framework")

from agent_framework import (  # noqa: E402
    AgentExecutorRequest,
    AgentExecutorResponse,
    AgentResponse,
    CheckpointStorage,
    Content,
    Executor,
    InMemoryCheckpointStorage,
    Message,
    WorkflowBuilder,
    WorkflowCheckpoint,
    WorkflowContext,
    WorkflowEvent,
    WorkflowExecutor,
    WorkflowMessage,
    handler,
    register_checkpoint_type,
    response_handler,
    step,
    workflow,
)
from agent_framework.exceptions import WorkflowCheckpointException  # noqa: E402
from holdfast.adapters.agent_framework import FORMAT, HoldfastCheckpointStorage  # noqa: E402

# Larger than an inline part, so that it is a blob, which can be damaged.
LONG = "x" * 100_000
UNREACHABLE = "127.0.0.1:1"
START = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class Draft:
    title: str
    marks: set[int] = field(default_factory=set)


@dataclass
class Registered:
    n: int


@dataclass
class Unknown:
    n: int


DRAFT = f"{__name__}:Draft"


@pytest.fixture
def storage(client: holdfast.AsyncClient) -> HoldfastCheckpointStorage:
    return HoldfastCheckpointStorage(client, namespace="n", workflow_id="run", allowed_checkpoint_types=[DRAFT])


@pytest.fixture
def falling_back(client: holdfast.AsyncClient) -> HoldfastCheckpointStorage:
    return HoldfastCheckpointStorage(client, namespace="n", workflow_id="run", fallback=True)


def checkpoint(n: int = 0, name: str = "w", **fields: Any) -> WorkflowCheckpoint:
    fields.setdefault("timestamp", (START + timedelta(seconds=n)).isoformat())
    return WorkflowCheckpoint(
        name, "hash", checkpoint_id=fields.pop("checkpoint_id", f"{name}-{n}"), iteration_count=n, **fields
    )


def full() -> WorkflowCheckpoint:
    request = WorkflowEvent.request_info("r-1", "writer", Draft("t", {1}), bool)
    message = Message("user", ["hi", Content.from_function_call("c", "f", arguments={"a": 1})], author_name="Zoë")
    answer = AgentExecutorResponse("writer", AgentResponse(messages=[message]), [message])
    return checkpoint(
        previous_checkpoint_id="before",
        messages={
            "writer": [
                WorkflowMessage(Draft("t", {1, 2}), "writer", "reader", trace_contexts=[{"traceparent": "00"}]),
                WorkflowMessage(AgentExecutorRequest([message]), "writer", original_request_info_event=request),
                WorkflowMessage(answer, "writer"),
            ]
        },
        state={"_executor_state": {"writer": {"seen": (1, b"2")}}, "n": 2**70, "when": START, 5: "five"},
        pending_request_info_events={"r-1": request},
        metadata={"zoë": [None, 0.1, {"$type": "x"}]},
    )


def plain(value: Any) -> Any:
    """Return a value in which the engine's objects are replaced by their attributes, so that it can be compared."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [type(value), *map(plain, value)]
    if type(value).__module__.startswith("agent_framework."):
        state = copy.copy(value.__getstate__())
        return type(value), plain(state if isinstance(state, dict) else list(state))
    return value


async def test_a_checkpoint_comes_back_with_every_type_that_the_engine_puts_into_it(storage):
    saved = full()
    assert await storage.save(saved) == saved.checkpoint_id
    loaded = await storage.load(saved.checkpoint_id)
    assert plain(loaded) == plain(saved)
    event = loaded.pending_request_info_events["r-1"]
    assert (event.request_type, event.response_type, event.data) == (Draft, bool, Draft("t", {1}))


async def test_the_payload_contains_no_pickle(storage, client):
    await storage.save(full())
    data = (await client.load("n", "run")).data
    assert json.loads(data)["workflow_name"] == "w"
    assert b"pickle" not in data


async def test_a_checkpoint_of_a_workflow_within_a_workflow_comes_back(storage):
    saved = checkpoint(state={"_executor_state": {"inner": {"sub_workflow_checkpoint": full()}}})
    await storage.save(saved)
    assert plain(await storage.load("w-0")) == plain(saved)


async def test_a_checkpoint_larger_than_a_message_comes_back(storage):
    saved = checkpoint(state={"text": "x" * (5 << 20)})
    await storage.save(saved)
    assert await storage.load("w-0") == saved


async def test_a_change_after_a_save_does_not_reach_the_checkpoint(storage):
    saved = checkpoint(state={"items": [1]})
    await storage.save(saved)
    saved.state["items"].append(2)
    loaded = await storage.load("w-0")
    assert loaded.state == {"items": [1]}
    loaded.state["items"].append(3)
    assert (await storage.load("w-0")).state == {"items": [1]}


async def test_a_missing_checkpoint_is_reported_like_by_the_engine_s_own_stores(storage, client):
    await check_absent(storage)
    await client.acquire_writer("n", "run")
    await check_absent(storage)
    await storage.save(checkpoint(1, "another"))
    await check_absent(storage)
    await client.delete_workflow("n", "run")
    await check_absent(storage)


async def check_absent(storage: HoldfastCheckpointStorage) -> None:
    with pytest.raises(WorkflowCheckpointException, match="No checkpoint found with ID w-0"):
        await storage.load("w-0")
    assert await storage.delete("w-0") is False
    assert await storage.list_checkpoints(workflow_name="w") == []
    assert await storage.list_checkpoint_ids(workflow_name="w") == []
    assert await storage.get_latest(workflow_name="w") is None


async def test_a_checkpoint_that_is_listed_but_never_found_ends_the_search_for_the_latest(storage, monkeypatch):
    await storage.save(checkpoint(0))

    async def never_found(*_, **__):
        raise holdfast.CheckpointNotFoundError("no checkpoint")

    monkeypatch.setattr(storage._reader, "load", never_found)
    with pytest.raises(holdfast.CheckpointCorruptedError, match="is listed, and is not found by its id"):
        await storage.get_latest(workflow_name="w")


async def test_lists_contain_the_checkpoints_of_a_name_in_the_order_they_were_saved(storage):
    reference = InMemoryCheckpointStorage()
    for n in (2, 0, 1):
        for name in ("w", "Zoë/東京", ""):
            for each in (storage, reference):
                await each.save(checkpoint(n, name))
    for name in ("w", "Zoë/東京", "", "never"):
        assert await storage.list_checkpoint_ids(workflow_name=name) == (
            await reference.list_checkpoint_ids(workflow_name=name)
        )
        assert await storage.list_checkpoints(workflow_name=name) == (
            await reference.list_checkpoints(workflow_name=name)
        )


async def test_the_latest_is_the_one_with_the_latest_timestamp(storage):
    for n in (1, 3, 2):
        await storage.save(checkpoint(n))
    assert (await storage.get_latest(workflow_name="w")).iteration_count == 3


async def test_the_latest_is_found_across_time_zones(storage):
    await storage.save(checkpoint(1, timestamp="2026-01-02T12:00:00+09:00"))
    await storage.save(checkpoint(2, timestamp="2026-01-02T04:00:00"))
    await storage.save(checkpoint(3, timestamp="2026-01-01T23:30:00-04:00"))
    assert (await storage.get_latest(workflow_name="w")).iteration_count == 2


async def test_of_two_checkpoints_with_one_timestamp_the_latest_is_the_one_saved_last(storage):
    for n in range(2):
        await storage.save(checkpoint(n, timestamp=START.isoformat()))
    assert (await storage.get_latest(workflow_name="w")).iteration_count == 1


async def test_the_latest_is_found_among_many_recent_checkpoints(storage):
    saved = [WorkflowCheckpoint("w", "hash", iteration_count=n) for n in range(120)]
    for each in saved:
        await storage.save(each)
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == saved[-1].checkpoint_id
    assert len(await storage.list_checkpoint_ids(workflow_name="w")) == 120


async def test_the_latest_is_found_before_checkpoints_that_were_imported_later(storage):
    await storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="made-now"))
    for n in range(3):
        await storage.save(checkpoint(n))
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == "made-now"


IDS = ["Zoë 東京", "a/b", "a%2Fb", "..", ".", "a\nb", "é" * 128, "x" * 400, "x" * 400 + "y"]


async def test_any_text_is_the_id_of_a_checkpoint_of_its_own(storage):
    for n, checkpoint_id in enumerate(IDS):
        await storage.save(checkpoint(n, checkpoint_id=checkpoint_id, previous_checkpoint_id=IDS[n - 1] if n else None))
    for n, checkpoint_id in enumerate(IDS):
        loaded = await storage.load(checkpoint_id)
        assert (loaded.checkpoint_id, loaded.iteration_count) == (checkpoint_id, n)
    assert await storage.list_checkpoint_ids(workflow_name="w") == IDS
    for checkpoint_id in IDS:
        assert await storage.delete(checkpoint_id) is True
    assert await storage.list_checkpoint_ids(workflow_name="w") == []


@pytest.mark.parametrize("checkpoint_id", ["", None, 7, "\ud800"])
async def test_an_invalid_id_is_refused(storage, checkpoint_id):
    for call in (
        lambda: storage.save(checkpoint(checkpoint_id=checkpoint_id)),
        lambda: storage.load(checkpoint_id),
        lambda: storage.delete(checkpoint_id),
    ):
        with pytest.raises(WorkflowCheckpointException, match=r"ID|id must"):
            await call()


@pytest.mark.parametrize("timestamp", ["", "yesterday", None, 7])
async def test_an_invalid_timestamp_is_refused(storage, timestamp):
    with pytest.raises(WorkflowCheckpointException, match="must be ISO 8601"):
        await storage.save(checkpoint(timestamp=timestamp))


async def test_the_latest_is_an_older_one_if_the_newest_is_deleted_concurrently(storage, client, monkeypatch):
    for n in range(2):
        await storage.save(checkpoint(n, timestamp=(START - timedelta(days=n)).isoformat()))
    await storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="now", timestamp="2999-01-01T00:00:00+00:00"))
    load = client.load

    async def too_late(namespace: str, workflow_id: str, checkpoint_id: str, **options: Any) -> Any:
        await storage.delete("now")
        return await load(namespace, workflow_id, checkpoint_id, **options)

    monkeypatch.setattr(client, "load", too_late)
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == "w-0"


def test_it_has_each_call_of_the_engine_s_interface_with_its_parameters():
    for name, call in vars(CheckpointStorage).items():
        if inspect.isfunction(call) and not name.startswith("_"):
            own = inspect.signature(getattr(HoldfastCheckpointStorage, name))
            assert own.parameters.keys() == inspect.signature(call).parameters.keys(), name


async def test_the_parent_is_the_checkpoint_before(storage, client):
    await storage.save(checkpoint(0))
    await storage.save(checkpoint(1, previous_checkpoint_id="w-0"))
    assert [each.parent_id async for each in client.list("n", "run")] == ["w-0", ""]


async def test_saving_a_checkpoint_twice_keeps_one(storage):
    for _ in range(2):
        await storage.save(full())
    assert await storage.list_checkpoint_ids(workflow_name="w") == ["w-0"]


async def test_another_checkpoint_under_a_used_id_is_refused_and_the_first_stays(storage):
    await storage.save(checkpoint(state={"n": 1}))
    with pytest.raises(holdfast.CheckpointIdReusedError):
        await storage.save(checkpoint(state={"n": 2}))
    assert (await storage.load("w-0")).state == {"n": 1}


async def test_a_deleted_checkpoint_is_gone_and_the_others_stay(storage):
    for n in range(3):
        await storage.save(checkpoint(n))
    assert await storage.delete("w-2") is True
    assert await storage.delete("w-2") is False
    assert await storage.list_checkpoint_ids(workflow_name="w") == ["w-0", "w-1"]
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == "w-1"
    with pytest.raises(WorkflowCheckpointException, match="No checkpoint found with ID w-2"):
        await storage.load("w-2")


@pytest.mark.parametrize("value", [Unknown(1), Unknown, asyncio.sleep])
async def test_a_class_that_is_not_allowed_is_refused_at_the_save(storage, value):
    with pytest.raises(WorkflowCheckpointException, match="allowed_checkpoint_types"):
        await storage.save(checkpoint(state={"value": value}))
    assert await storage.list_checkpoint_ids(workflow_name="w") == []


async def test_a_class_that_is_not_allowed_is_not_restored(storage, client):
    await storage.save(checkpoint(state={"draft": Draft("t")}))
    stranger = HoldfastCheckpointStorage(client, namespace="n", workflow_id="run")
    for call in (
        lambda: stranger.load("w-0"),
        lambda: stranger.get_latest(workflow_name="w"),
    ):
        with pytest.raises(WorkflowCheckpointException, match="is not allowed"):
            await call()


async def test_a_class_that_is_registered_with_the_engine_is_allowed(storage):
    with pytest.raises(WorkflowCheckpointException, match="is not allowed"):
        await storage.save(checkpoint(state={"value": Registered(1)}))
    register_checkpoint_type(Registered)
    await storage.save(checkpoint(state={"value": Registered(1)}))
    assert (await storage.load("w-0")).state == {"value": Registered(1)}


async def test_a_checkpoint_that_contains_itself_is_refused(storage):
    ring: dict[str, Any] = {}
    ring["self"] = ring
    with pytest.raises(WorkflowCheckpointException, match="cannot be saved"):
        await storage.save(checkpoint(state=ring))


async def test_a_payload_that_is_not_a_checkpoint_is_an_error(storage, client):
    labels = {"workflow_name": "w", "checkpoint_id": "x", "timestamp": START.isoformat()}
    for n, data in enumerate([b"{", b'{"workflow_name": "w"}', b'{"$type": "class", "class": "os:system"}']):
        await client.save("n", "run", data, format=FORMAT, checkpoint_id=f"x{n}", labels=labels)
        with pytest.raises(WorkflowCheckpointException):
            await storage.load(f"x{n}")


async def test_a_checkpoint_of_a_newer_format_is_refused(storage, client):
    newer = replace(FORMAT, version=FORMAT.version + 1)
    labels = {"workflow_name": "w", "checkpoint_id": "x", "timestamp": START.isoformat()}
    await client.save("n", "run", b"{}", format=newer, checkpoint_id="x", labels=labels)
    for call in (
        lambda: storage.load("x"),
        lambda: storage.get_latest(workflow_name="w"),
    ):
        with pytest.raises(holdfast.FormatIncompatibleError):
            await call()
    (listed,) = await storage.list_checkpoints(workflow_name="w")
    assert isinstance(listed.error, holdfast.FormatIncompatibleError)


@pytest.mark.without_deltas
async def test_a_damaged_newest_checkpoint_is_an_error(storage, served):
    await storage.save(checkpoint(0))
    await storage.save(checkpoint(1, state={"long": LONG}))
    damage_newest(served.folder)
    for call in (
        lambda: storage.get_latest(workflow_name="w"),
        lambda: storage.load("w-1"),
    ):
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await call()
    whole, damaged = await storage.list_checkpoints(workflow_name="w")
    assert (whole.iteration_count, damaged.checkpoint_id) == (0, "w-1")
    with pytest.raises(holdfast.CheckpointCorruptedError):
        damaged.state  # noqa: B018
    assert await storage.list_checkpoint_ids(workflow_name="w") == ["w-0", "w-1"]
    assert (await storage.load("w-0")).iteration_count == 0


@pytest.mark.without_deltas
async def test_a_damaged_newest_checkpoint_falls_back_to_the_last_good_one_if_the_caller_asks(
    falling_back, served, caplog
):
    await falling_back.save(checkpoint(0))
    await falling_back.save(checkpoint(1, "another"))
    await falling_back.save(checkpoint(2, state={"long": LONG}))
    damage_newest(served.folder)
    with caplog.at_level(logging.WARNING, "holdfast.adapters.agent_framework"):
        assert (await falling_back.get_latest(workflow_name="w")).checkpoint_id == "w-0"
    assert "skipped checkpoint w-2" in caplog.text
    assert [each.checkpoint_id for each in await falling_back.list_checkpoints(workflow_name="w")] == ["w-0"]


@pytest.mark.without_deltas
async def test_a_load_by_id_falls_back_too(falling_back, served):
    await falling_back.save(checkpoint(0))
    await falling_back.save(checkpoint(1, state={"long": LONG}))
    damage_newest(served.folder)
    assert (await falling_back.load("w-1")).checkpoint_id == "w-0"
    with pytest.raises(WorkflowCheckpointException, match="No checkpoint found"):
        await falling_back.load("never")


@pytest.mark.without_deltas
async def test_a_fallback_that_finds_nothing_whole_is_an_error(falling_back, served):
    await falling_back.save(checkpoint(0, "another"))
    await falling_back.save(checkpoint(1, state={"long": LONG}))
    damage_newest(served.folder)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await falling_back.get_latest(workflow_name="w")


def test_a_damaged_head_of_the_log_is_an_error_or_falls_back(tmp_path):
    store = tmp_path / "store"

    async def fill(target: str) -> None:
        async with HoldfastCheckpointStorage.from_target(target, namespace="n", workflow_id="run") as storage:
            for n in range(3):
                await storage.save(checkpoint(n))

    async def check(target: str) -> None:
        for fallback in (False, True):
            async with HoldfastCheckpointStorage.from_target(
                target, namespace="n", workflow_id="run", fallback=fallback
            ) as storage:
                if fallback:
                    latest = await storage.get_latest(workflow_name="w")
                    assert latest.checkpoint_id == "w-1"
                    assert await storage.load(latest.checkpoint_id) == latest
                    with pytest.raises(holdfast.CheckpointCorruptedError):
                        await storage.get_latest(workflow_name="another")
                else:
                    with pytest.raises(holdfast.CheckpointCorruptedError):
                        await storage.get_latest(workflow_name="w")

    with server(store.as_uri()) as target:
        asyncio.run(fill(target))
    damage_marker(store)
    with server(store.as_uri()) as target:
        asyncio.run(check(target))


async def test_a_damaged_marker_before_another_one_is_an_error_and_no_older_checkpoint_is_the_latest(storage, served):
    await storage.save(checkpoint(0))
    await storage.save(checkpoint(1))
    await storage.save(checkpoint(2, "another"))
    damage_marker(served.folder, newer=1)
    async with (
        serving_watched(served.folder.parent) as fresh,
        HoldfastCheckpointStorage.from_target(fresh.target, namespace="n", workflow_id="run") as strict,
        HoldfastCheckpointStorage.from_target(
            fresh.target, namespace="n", workflow_id="run", fallback=True
        ) as falling_back,
    ):
        for call in (strict.get_latest, strict.list_checkpoints, strict.list_checkpoint_ids):
            with pytest.raises(holdfast.CheckpointCorruptedError):
                await call(workflow_name="w")
        assert (await falling_back.get_latest(workflow_name="w")).checkpoint_id == "w-0"


async def test_a_server_that_is_not_there_is_a_typed_error():
    async with HoldfastCheckpointStorage.from_target(UNREACHABLE, timeout=0.3) as storage:
        for call in (
            lambda: storage.save(checkpoint()),
            lambda: storage.load("w-0"),
            lambda: storage.delete("w-0"),
            lambda: storage.get_latest(workflow_name="w"),
            lambda: storage.list_checkpoints(workflow_name="w"),
            lambda: storage.list_checkpoint_ids(workflow_name="w"),
        ):
            with pytest.raises((holdfast.ServerUnavailableError, holdfast.DeadlineExceededError)):
                await call()


async def test_many_tasks_at_once_save_load_and_delete(storage):
    async def one(n: int) -> None:
        saved = checkpoint(n, f"w{n % 4}", state={"n": n})
        await storage.save(saved)
        assert await storage.load(saved.checkpoint_id) == saved
        if n % 2:
            assert await storage.delete(saved.checkpoint_id) is True

    async with asyncio.TaskGroup() as tasks:
        for n in range(40):
            tasks.create_task(one(n))
    for name in ("w0", "w2"):
        assert len(await storage.list_checkpoint_ids(workflow_name=name)) == 10
    assert await storage.list_checkpoint_ids(workflow_name="w1") == []


async def test_of_many_deletions_of_one_checkpoint_one_reports_that_it_existed(storage):
    await storage.save(checkpoint())
    assert sorted(await asyncio.gather(*(storage.delete("w-0") for _ in range(8)))) == [False] * 7 + [True]


async def test_each_run_and_each_namespace_has_checkpoints_of_its_own(storage, client):
    await storage.save(checkpoint())
    for other in (
        HoldfastCheckpointStorage(client, namespace="n", workflow_id="another/run"),
        HoldfastCheckpointStorage(client, namespace="another", workflow_id="run"),
    ):
        assert await other.get_latest(workflow_name="w") is None
        await other.save(checkpoint(state={"other": True}))
    assert (await storage.load("w-0")).state == {}


def test_a_run_must_have_a_name():
    with pytest.raises(ValueError, match="must not be empty"):
        HoldfastCheckpointStorage(None, workflow_id="")


class Double(Executor):
    @handler
    async def double(self, number: int, ctx: WorkflowContext[int]) -> None:
        await ctx.send_message(number * 2)


class Ask(Executor):
    @handler
    async def ask(self, number: int, ctx: WorkflowContext[None, str]) -> None:
        await ctx.request_info(Draft(f"is it {number}?"), bool)

    @response_handler
    async def answered(self, request: Draft, answer: bool, ctx: WorkflowContext[None, str]) -> None:
        await ctx.yield_output(f"{request.title} {answer}")


def asking(storage: Any) -> Any:
    double, ask = Double(id="double"), Ask(id="ask")
    return (
        WorkflowBuilder(name="asking", start_executor=double, checkpoint_storage=storage).add_edge(double, ask).build()
    )


async def test_a_workflow_that_waits_for_a_human_continues_in_another_instance(storage):
    waiting = await asking(storage).run(21)
    (request,) = waiting.get_request_info_events()
    latest = await storage.get_latest(workflow_name="asking")
    assert list(latest.pending_request_info_events) == [request.request_id]
    answered = await asking(storage).run(checkpoint_id=latest.checkpoint_id, responses={request.request_id: True})
    assert answered.get_outputs() == ["is it 42? True"]


async def test_each_superstep_is_a_checkpoint_whose_parent_is_the_one_before(storage, client):
    await asking(storage).run(21)
    infos = [each async for each in client.list("n", "run")]
    assert len(infos) == 3
    assert [each.parent_id for each in infos] == [each.checkpoint_id for each in infos[1:]] + [""]


async def test_a_workflow_within_a_workflow_continues_in_another_instance(storage):
    def outer() -> Any:
        inner = WorkflowExecutor(asking(None), id="inner", propagate_request=True, allow_direct_output=True)
        return WorkflowBuilder(name="outer", start_executor=inner, checkpoint_storage=storage).build()

    (request,) = (await outer().run(21)).get_request_info_events()
    latest = await storage.get_latest(workflow_name="outer")
    answered = await outer().run(checkpoint_id=latest.checkpoint_id, responses={request.request_id: False})
    assert answered.get_outputs() == ["is it 42? False"]


@pytest.mark.filterwarnings("ignore:.*FUNCTIONAL_WORKFLOWS")
async def test_a_workflow_of_functions_replays_its_steps_from_a_checkpoint(storage):
    ran = []

    @step(replay_key=str)
    async def double(number: int) -> int:
        ran.append(number)
        return number * 2

    @workflow(name="steps")
    async def steps(number: int) -> int:
        return await double(await double(number))

    assert (await steps.build(checkpoint_storage=storage).run(3)).get_outputs() == [12]
    latest = await storage.get_latest(workflow_name="steps")
    assert (await steps.build(checkpoint_storage=storage).run(checkpoint_id=latest.checkpoint_id)).get_outputs() == [12]
    assert ran == [3, 6]


async def test_a_missing_checkpoint_fails_the_run(storage):
    with pytest.raises(WorkflowCheckpointException, match="No checkpoint found with ID never"):
        await asking(storage).run(checkpoint_id="never")


@pytest.mark.without_deltas
async def test_a_damaged_checkpoint_fails_the_run_with_its_error(storage, served):
    saved = checkpoint(name="asking", state={"long": LONG})
    await storage.save(saved)
    damage_newest(served.folder)
    with pytest.raises(WorkflowCheckpointException) as failed:
        await asking(storage).run(checkpoint_id=saved.checkpoint_id)
    assert isinstance(failed.value.__cause__, holdfast.CheckpointCorruptedError)


def test_the_code_of_the_page_runs_as_written(tmp_path):
    assert pages.output_of("agent-framework", tmp_path) == "['HELLO']\n"


@pytest.fixture(scope="module")
def calm(target: str, tmp_path_factory: pytest.TempPathFactory) -> killing.Run:
    return killing.run(
        "tests.integration.adapters.programs.agent_framework", target, tmp_path_factory.mktemp("calm") / "run"
    )


STEPS = ["collect", "write", "review", "count", "publish"]


@pytest.mark.parametrize("tenth", kill_points.TENTHS)
def test_a_workflow_that_is_killed_anywhere_ends_as_if_it_had_not_been(calm, target, tmp_path, tenth):
    kill_at = kill_points.ten_points(calm)[tenth]
    killed = killing.run(
        "tests.integration.adapters.programs.agent_framework", target, tmp_path / "run", kill_at=kill_at
    )
    assert killed.kills == 1
    assert killed.result == calm.result
    before, after = killed.points[:kill_at], killed.points[kill_at:]
    saved = max((int(point.removeprefix("saved ")) for point in before if point.startswith("saved ")), default=0)
    begun = [point.removeprefix("begin ") for point in after if point.startswith("begin ")]
    # Superstep n runs the n-th step. Steps before the last saved checkpoint never run again; all others run.
    assert begun == STEPS[saved:]
