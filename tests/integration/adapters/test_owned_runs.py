"""Exclusive ownership of runs of Agent Framework and Pydantic AI, with two real processes of each."""

from collections.abc import Iterator

import holdfast
import pytest

from tests.integration.adapters.two_processes import running
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("agent_framework")
require_engine("pydantic_ai_harness")

from agent_framework import WorkflowCheckpoint  # noqa: E402
from holdfast.adapters.agent_framework import HoldfastCheckpointStorage  # noqa: E402
from holdfast.adapters.pydantic_ai import HoldfastStepStore  # noqa: E402
from pydantic_ai.messages import ModelRequest, UserPromptPart  # noqa: E402
from pydantic_ai_harness.step_persistence import ContinuableSnapshot, RunRecord, StepEvent  # noqa: E402

WORKFLOW = "tests.integration.adapters.programs.owned_agent_framework"
AGENT = "tests.integration.adapters.programs.owned_pydantic_ai"


@pytest.fixture
def target(tmp_path) -> Iterator[str]:
    with server((tmp_path / "store").as_uri()) as target:
        yield target


def storage(client: holdfast.AsyncClient, ownership: str = "exclusive") -> HoldfastCheckpointStorage:
    return HoldfastCheckpointStorage(client, namespace="n", workflow_id="run", ownership=ownership)


def checkpoint(number: int, previous: int | None = None, **fields) -> WorkflowCheckpoint:
    return WorkflowCheckpoint(
        "w",
        "hash",
        checkpoint_id=f"c-{number}",
        previous_checkpoint_id=None if previous is None else f"c-{previous}",
        **fields,
    )


async def test_an_overtaken_workflow_process_is_refused_and_the_chain_of_the_other_is_whole(target):
    with running(WORKFLOW, target, "run", "one") as one:
        one.waits("in second")
        with running(WORKFLOW, target, "resume", "two") as two:
            two.waits("in second")
            two.proceed()
            assert two.result() == {"failures": [], "problem": ""}
            one.proceed()
            lost = one.result()
    assert set(lost["failures"]) <= {"WriterFencedError", "RevisionConflictError"}
    assert len(lost["failures"]) == 2
    assert "could not be saved" in lost["problem"]
    async with holdfast.AsyncClient(target) as client:
        chain = await storage(client).list_checkpoints(workflow_name="w")
    assert [each.state.get("by") for each in chain] == [None, None, "two", "two"]
    assert [each.previous_checkpoint_id for each in chain] == [None, *(each.checkpoint_id for each in chain[:-1])]


async def test_of_two_workflow_processes_that_resume_from_one_checkpoint_one_is_refused(target):
    with running(WORKFLOW, target, "run", "zero") as zero:
        zero.waits("in second")
    with running(WORKFLOW, target, "resume", "one") as one, running(WORKFLOW, target, "resume", "two") as two:
        for each in (one, two):
            each.waits("in second")
        for each in (one, two):
            each.proceed()
        results = [one.result(), two.result()]
    assert sorted(bool(each["failures"]) for each in results) == [False, True]
    winner = ["one", "two"][[bool(each["failures"]) for each in results].index(False)]
    async with holdfast.AsyncClient(target) as client:
        chain = await storage(client).list_checkpoints(workflow_name="w")
    assert [each.state.get("by") for each in chain] == [None, None, winner, winner]


async def test_an_overtaken_agent_process_is_refused_and_the_chain_of_the_other_is_whole(target):
    with running(AGENT, target, "r-1", "") as one:
        one.waits("in tool")
        with running(AGENT, target, "r-2", "r-1") as two:
            two.waits("loaded")
            two.proceed()
            assert two.result() == {"failure": ""}
        one.proceed()
        assert one.result() == {"failure": "WRITER_FENCED"}
    async with HoldfastStepStore.from_target(target, namespace="agents") as store:
        assert [each.kind for each in await store.list_events(run_id="r-2")][-1] == "run_completed"
        assert (await store.latest_snapshot(run_id="r-2")).messages[-1].parts[0].content == "done"
        assert "run_failed" not in [each.kind for each in await store.list_events(run_id="r-1")]


async def test_of_two_agent_processes_that_resume_from_one_snapshot_one_is_refused_before_anything_is_stored(target):
    with running(AGENT, target, "r-1", "") as one:
        one.waits("in tool")
    with running(AGENT, target, "r-2", "r-1") as two, running(AGENT, target, "r-3", "r-1") as three:
        for each in (two, three):
            each.waits("loaded")
        two.proceed()
        assert two.result() == {"failure": ""}
        three.proceed()
        assert three.result() == {"failure": "REVISION_CONFLICT"}
    async with HoldfastStepStore.from_target(target, namespace="agents") as store:
        assert [each.run_id for each in await store.list_runs()] == ["r-1", "r-2"]
        assert await store.list_events(run_id="r-3") == []


async def test_of_two_fresh_runs_of_one_storage_the_later_one_is_refused(client):
    one, two = storage(client), storage(client)
    for each in (one, two):
        assert await each.get_latest(workflow_name="w") is None
    await one.save(checkpoint(0))
    for _ in range(2):
        with pytest.raises(holdfast.RevisionConflictError):
            await two.save(checkpoint(9))
    await one.save(checkpoint(1, 0))
    assert await one.list_checkpoint_ids(workflow_name="w") == ["c-0", "c-1"]


async def test_a_run_whose_process_died_before_it_saved_does_not_block_the_next_one(client):
    await client.acquire_writer("n", "run")
    one = storage(client)
    assert await one.get_latest(workflow_name="w") is None
    await one.save(checkpoint(0))
    await client.acquire_writer("n", "run")
    two = storage(client)
    await two.load("c-0")
    await two.save(checkpoint(1, 0))


async def test_a_run_begins_from_an_older_checkpoint_only_if_ownership_is_shared(client):
    one = storage(client)
    for number in range(3):
        await one.save(checkpoint(number, number - 1 if number else None))
    await one.load("c-1")
    with pytest.raises(holdfast.RevisionConflictError):
        await one.save(checkpoint(8, 1))
    shared = storage(client, "shared")
    await shared.load("c-1")
    await shared.save(checkpoint(9, 1))


async def test_prunes_and_unsaved_checkpoints_do_not_block_an_exclusive_run(client):
    one = storage(client)
    await one.save(checkpoint(0))
    await one.save(checkpoint(1, 0))
    await client.prune("n", "run", keep_last=1)
    await one.save(checkpoint(2, 1))
    with pytest.raises(Exception, match="cannot be saved"):
        await one.save(checkpoint(3, 2, state={"bad": memoryview(b"")}))
    await one.save(checkpoint(4, 2))
    assert (await storage(client).get_latest(workflow_name="w")).checkpoint_id == "c-4"
    with pytest.raises(Exception, match="cannot be saved"):
        await one.save(checkpoint(5, 4, state={"bad": memoryview(b"")}))
    two = storage(client)
    await two.load("c-4")
    await two.save(checkpoint(6, 4))


async def test_a_save_whose_answer_was_lost_counts_as_the_run_s_own(client, served):
    one = storage(client)
    await one.save(checkpoint(0))
    save = client.save

    async def lost(*args, **options):
        await save(*args, **options)
        raise holdfast.ServerUnavailableError("gone")

    client.save = lost
    with pytest.raises(holdfast.ServerUnavailableError):
        await one.save(checkpoint(1, 0))
    client.save = save
    await one.save(checkpoint(2, 0))
    assert await one.list_checkpoint_ids(workflow_name="w") == ["c-0", "c-1", "c-2"]


@pytest.mark.parametrize("ownership", ["", "Exclusive", None, True, 1])
def test_an_invalid_ownership_is_refused(client, ownership):
    with pytest.raises(ValueError, match="ownership must be"):
        storage(client, ownership)
    with pytest.raises(ValueError, match="ownership must be"):
        HoldfastStepStore(client, namespace="agents", ownership=ownership)


def snapshot(number: int, run_id: str = "r") -> ContinuableSnapshot:
    messages = [ModelRequest(parts=[UserPromptPart(content=str(number))])]
    return ContinuableSnapshot(run_id=run_id, step_index=number, messages=messages, conversation_id="talk")


async def test_runs_of_one_conversation_in_one_process_continue_from_each_other(client):
    store = HoldfastStepStore(client, namespace="agents", ownership="exclusive", max_snapshots_per_run=1)
    for number in range(3):
        await store.register_run(RunRecord(run_id=f"r-{number}", conversation_id="talk"))
        for step in range(3):
            await store.save_snapshot(snapshot(step, f"r-{number}"))
        await store.append_event(StepEvent(run_id=f"r-{number}", kind="run_completed", step_index=1))
    assert (await store.latest_snapshot(run_id="r-2")).step_index == 2


async def test_a_replayed_run_takes_over_from_the_process_that_began_it(client):
    one, two = (HoldfastStepStore(client, namespace="agents", ownership="exclusive") for _ in range(2))
    await one.register_run(RunRecord(run_id="r"))
    await one.append_event(StepEvent(run_id="r", kind="run_started", step_index=0))
    await two.append_event(StepEvent(run_id="r", kind="model_request_started", step_index=1))
    for write in (
        lambda: one.append_event(StepEvent(run_id="r", kind="run_failed", step_index=1)),
        lambda: one.save_snapshot(snapshot(1)),
    ):
        with pytest.raises(holdfast.WriterFencedError):
            await write()
    assert len(await two.list_events(run_id="r")) == 2
    assert await two.latest_snapshot(run_id="r") is None
