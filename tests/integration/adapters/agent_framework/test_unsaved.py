"""The engine continues after a failed save. A later resume raises, and names the checkpoint to continue from."""

import asyncio
import logging
from typing import Any

import holdfast
import pytest

from tests.support.required import require_engine
from tests.support.watched import serving_watched

require_engine("agent_framework")

from agent_framework import WorkflowBuilder, WorkflowCheckpoint, WorkflowContext, executor  # noqa: E402
from agent_framework.exceptions import WorkflowCheckpointException  # noqa: E402
from holdfast.adapters.agent_framework import HoldfastCheckpointStorage  # noqa: E402
from holdfast.adapters.unreadable import Unreadable  # noqa: E402


class Unknown:
    pass


@pytest.fixture
def storage(client: holdfast.AsyncClient) -> HoldfastCheckpointStorage:
    return HoldfastCheckpointStorage(client, namespace="n", workflow_id="run")


@executor(id="first")
async def first(value: Any, ctx: WorkflowContext[int]) -> None:
    await ctx.send_message(1)


@executor(id="second")
async def second(value: int, ctx: WorkflowContext[int]) -> None:
    ctx.set_state("bad", Unknown())
    await ctx.send_message(2)


@executor(id="third")
async def third(value: int, ctx: WorkflowContext[None, int]) -> None:
    await ctx.yield_output(value)


def chain(storage: HoldfastCheckpointStorage) -> Any:
    return (
        WorkflowBuilder(name="w", start_executor=first, checkpoint_storage=storage)
        .add_chain([first, second, third])
        .build()
    )


async def test_a_run_with_unsaved_checkpoints_is_not_silently_resumed_from_an_older_one(storage, client, caplog):
    with caplog.at_level(logging.ERROR, "holdfast.adapters.agent_framework"):
        await chain(storage).run("go")
    assert "is not saved: Checkpoint " in caplog.text
    ids = await storage.list_checkpoint_ids(workflow_name="w")
    assert len(ids) == 2
    elsewhere = HoldfastCheckpointStorage(client, namespace="n", workflow_id="run")
    falling_back = HoldfastCheckpointStorage(client, namespace="n", workflow_id="run", fallback=True)
    for each in (storage, elsewhere, falling_back):
        with pytest.raises(
            WorkflowCheckpointException, match=rf"superstep 3, could not be saved: .*Unknown.*'{ids[-1]}'"
        ):
            await each.get_latest(workflow_name="w")
    *saved, missing = await elsewhere.list_checkpoints(workflow_name="w")
    assert [each.checkpoint_id for each in saved] == ids
    assert isinstance(missing, Unreadable)
    with pytest.raises(WorkflowCheckpointException, match="could not be saved"):
        missing.state  # noqa: B018


async def test_a_later_checkpoint_that_is_saved_ends_the_error(storage, client):
    bad = WorkflowCheckpoint("w", "hash", checkpoint_id="bad", state={"bad": Unknown()})
    with pytest.raises(WorkflowCheckpointException, match="cannot be saved"):
        await storage.save(bad)
    await storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="good"))
    elsewhere = HoldfastCheckpointStorage(client, namespace="n", workflow_id="run")
    for each in (storage, elsewhere):
        assert (await each.get_latest(workflow_name="w")).checkpoint_id == "good"
        assert [found.checkpoint_id for found in await each.list_checkpoints(workflow_name="w")] == ["good"]


async def test_saving_the_same_checkpoint_at_last_ends_the_error(storage):
    saved = WorkflowCheckpoint("w", "hash", checkpoint_id="c", state={"bad": Unknown()})
    with pytest.raises(WorkflowCheckpointException, match="cannot be saved"):
        await storage.save(saved)
    saved.state.clear()
    await storage.save(saved)
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == "c"


async def test_a_run_continues_from_the_checkpoint_before_the_missing_one_if_its_id_is_given(storage, client):
    await chain(storage).run("go")
    before = (await storage.list_checkpoint_ids(workflow_name="w"))[-1]
    elsewhere = HoldfastCheckpointStorage(
        client, namespace="n", workflow_id="run", allowed_checkpoint_types=[f"{__name__}:Unknown"]
    )
    result = await chain(elsewhere).run(checkpoint_id=before)
    assert result.get_outputs() == [2]
    latest = await elsewhere.get_latest(workflow_name="w")
    assert (latest.iteration_count, type(latest.state["bad"])) == (3, Unknown)


async def test_another_workflow_s_name_is_not_affected(storage):
    await storage.save(WorkflowCheckpoint("other", "hash", checkpoint_id="o"))
    with pytest.raises(WorkflowCheckpointException):
        await storage.save(WorkflowCheckpoint("w", "hash", state={"bad": Unknown()}))
    assert (await storage.get_latest(workflow_name="other")).checkpoint_id == "o"


async def test_a_checkpoint_missing_because_the_store_failed_is_reported_by_the_process_that_lost_it(tmp_path):
    async with (
        serving_watched(tmp_path) as served,
        HoldfastCheckpointStorage.from_target(served.target, workflow_id="run", timeout=1) as storage,
    ):
        await storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="a"))
        served.store.lose_request = lambda operation, key: operation == "put_if_absent"
        lost = WorkflowCheckpoint("w", "hash", checkpoint_id="b", previous_checkpoint_id="a")
        with pytest.raises(holdfast.HoldfastError):
            await storage.save(lost)
        served.store.lose_request = lambda operation, key: False
        with pytest.raises(
            WorkflowCheckpointException, match=r"Checkpoint b of .* could not be saved.*checkpoint_id='a'"
        ) as caught:
            await storage.get_latest(workflow_name="w")
        assert isinstance(caught.value.__cause__, holdfast.HoldfastError)
        assert (await storage.load("a")).checkpoint_id == "a"
        assert (await storage.get_latest(workflow_name="w")).checkpoint_id == "a"


async def test_a_notice_replaces_no_checkpoint_when_few_are_kept(storage, client):
    await storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="a"))
    for _ in range(3):
        with pytest.raises(WorkflowCheckpointException):
            await storage.save(WorkflowCheckpoint("w", "hash", previous_checkpoint_id="a", state={"bad": Unknown()}))
    await client.prune("n", "run", keep_last=1)
    assert (await storage.load("a")).checkpoint_id == "a"
    await storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="b", previous_checkpoint_id="a"))
    await client.prune("n", "run", keep_last=1)
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == "b"


async def test_a_cancelled_save_is_not_a_failure(storage, served):
    await storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="a"))
    reached, never = asyncio.Event(), asyncio.Event()

    async def hold(operation: str, key: str) -> None:
        if operation == "put_if_absent":
            reached.set()
            await never.wait()

    served.store.before = hold
    saving = asyncio.create_task(storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="b")))
    await reached.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    never.set()
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id in ("a", "b")


async def test_a_stored_checkpoint_whose_save_failed_is_the_latest(storage, client, monkeypatch):
    save = client.save

    async def lost(*args: Any, **options: Any) -> None:
        await save(*args, **options)
        raise holdfast.ServerUnavailableError("gone")

    monkeypatch.setattr(client, "save", lost)
    with pytest.raises(holdfast.ServerUnavailableError):
        await storage.save(WorkflowCheckpoint("w", "hash", checkpoint_id="a"))
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == "a"
