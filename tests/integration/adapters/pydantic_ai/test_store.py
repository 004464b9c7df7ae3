"""The promises of the step store for Pydantic AI, with the real engine and a real server."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import holdfast
import pytest

from tests.support.required import require_engine

require_engine("pydantic_ai_harness")

from holdfast.adapters.pydantic_ai import SNAPSHOT_FORMAT, HoldfastStepStore  # noqa: E402
from pydantic_ai import Agent, BinaryContent, ToolCallPart  # noqa: E402
from pydantic_ai.messages import (  # noqa: E402
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel  # noqa: E402
from pydantic_ai_harness.conversation_search import SnapshotHistorySource  # noqa: E402
from pydantic_ai_harness.step_persistence import (  # noqa: E402
    ContinuableSnapshot,
    InMemoryStepStore,
    RunRecord,
    StepEvent,
    StepPersistence,
    StepStore,
    ToolEffectRecord,
    continue_run,
)
from pydantic_ai_harness.step_persistence.recovery import inspect_recovery  # noqa: E402

from tests.integration.adapters import kill_points, killing, pages  # noqa: E402
from tests.support.damage import damage_all, damage_marker, damage_newest  # noqa: E402
from tests.support.servers import server  # noqa: E402
from tests.support.watched import serving_watched  # noqa: E402

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
IDS = ["run/1", "a%2Fb", "..", "läuf 木", "x" * 200, "run:1", "tab\tid", "", "cp-000000000001-abc"]


@pytest.fixture
def store(client):
    return HoldfastStepStore(client, namespace="agents")


def event(number: int, run_id: str = "r", **fields) -> StepEvent:
    return StepEvent(run_id=run_id, kind="model_request_started", step_index=number, **fields)


def snapshot(number: int, run_id: str = "r", size: int = 1, **fields) -> ContinuableSnapshot:
    messages = [ModelRequest(parts=[UserPromptPart(content="x" * size)]), ModelResponse(parts=[TextPart(str(number))])]
    return ContinuableSnapshot(run_id=run_id, step_index=number, messages=messages, **fields)


def effect(call: str, status="started", run_id: str = "r", **fields) -> ToolEffectRecord:
    return ToolEffectRecord(tool_call_id=call, tool_name="t", run_id=run_id, status=status, **fields)


def test_store_has_every_method_of_the_protocol(store):
    assert isinstance(store, StepStore)


async def test_a_run_comes_back_with_all_its_fields(store):
    run = RunRecord(
        run_id="r",
        conversation_id="c",
        parent_run_id="p",
        agent_name="a",
        metadata={"k": "wert ü"},
        started_at=datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
        registration_id="reg",
    )
    await store.register_run(run)
    assert await store.get_run(run_id="r") == run


async def test_an_event_comes_back_with_all_its_fields(store):
    whole = StepEvent(
        run_id="r",
        kind="tool_call_failed",
        step_index=3,
        conversation_id="c",
        parent_run_id="p",
        agent_name="a",
        tool_call_id="t",
        tool_name="n",
        error="E('x')",
        metadata={"k": "v"},
        idempotency_key="0:3:tool_call_failed:t",
    )
    await store.append_event(whole)
    assert await store.list_events(run_id="r") == [whole]


async def test_a_snapshot_comes_back_with_every_kind_of_message(store):
    saved = ContinuableSnapshot(
        run_id="r",
        step_index=2,
        messages=[
            ModelRequest(
                parts=[
                    SystemPromptPart(content="s"),
                    UserPromptPart(
                        content=["look", BinaryContent(data=bytes(range(256)), media_type="application/pdf")]
                    ),
                ]
            ),
            ModelResponse(
                parts=[
                    ThinkingPart(content="hm", signature="sig"),
                    ToolCallPart(tool_name="t", args={"a": [1, None, 0.5]}, tool_call_id="1"),
                    ToolCallPart(tool_name="t", args="{}", tool_call_id="2"),
                ]
            ),
            ModelRequest(
                parts=[
                    ToolReturnPart(tool_name="t", content={"deep": [True]}, tool_call_id="1"),
                    ToolReturnPart(tool_name="t", content="again", tool_call_id="2", outcome="retried"),
                ]
            ),
        ],
        conversation_id="c",
        parent_run_id="p",
        agent_name="a",
        state="interrupted",
        idempotency_key="0:2",
    )
    await store.save_snapshot(saved)
    assert await store.latest_snapshot(run_id="r", include_interrupted=True) == saved


async def test_a_tool_effect_comes_back_with_all_its_fields(store):
    whole = effect("t", "failed", ended_at=NOON, idempotency_key="k", effect_summary="wrote a file")
    await store.record_tool_effect(whole)
    assert await store.get_tool_effect(run_id="r", tool_call_id="t") == whole


async def test_a_missing_item_is_none_or_an_empty_list(store):
    assert await store.get_run(run_id="r") is None
    assert await store.list_runs() == []
    assert await store.list_events(run_id="r") == []
    assert await store.latest_snapshot(run_id="r") is None
    assert await store.latest_snapshot(run_id="r", include_interrupted=True) is None
    assert await store.list_snapshots(run_id="r") == []
    assert await store.get_tool_effect(run_id="r", tool_call_id="t") is None
    assert await store.list_unresolved_tool_effects(run_id="r") == []


async def test_another_run_among_runs_is_none(store):
    await store.register_run(RunRecord(run_id="there"))
    assert await store.get_run(run_id="r") is None


async def test_a_run_id_is_registered_once(store):
    await store.register_run(RunRecord(run_id="r", registration_id="first"))
    with pytest.raises(ValueError, match="'r' is already in the store"):
        await store.register_run(RunRecord(run_id="r", registration_id="second"))
    assert (await store.get_run(run_id="r")).registration_id == "first"


async def test_the_same_registration_may_be_made_again(store):
    run = RunRecord(run_id="r", registration_id="first")
    await store.register_run(run)
    await store.register_run(run)
    assert await store.list_runs() == [run]


async def test_of_many_racing_registrations_one_wins(store):
    runs = [RunRecord(run_id="r", registration_id=str(number)) for number in range(10)]
    outcomes = await asyncio.gather(*map(store.register_run, runs), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType"] + ["ValueError"] * 9
    assert (await store.get_run(run_id="r")) == runs[outcomes.index(None)]


async def test_runs_are_listed_by_the_instant_of_their_start(store):
    late = RunRecord(run_id="late", started_at=NOON)
    # Its text sorts after noon in UTC, but its time is earlier.
    early = RunRecord(run_id="early", started_at=datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=2))))
    await store.register_run(late)
    await store.register_run(early)
    assert [run.run_id for run in await store.list_runs()] == ["early", "late"]


async def test_filters_of_runs_combine(store):
    for run_id, conversation, parent in [("1", "c", "p"), ("2", "c", None), ("3", None, "p"), ("4", "C", "p")]:
        await store.register_run(RunRecord(run_id=run_id, conversation_id=conversation, parent_run_id=parent))
    assert [run.run_id for run in await store.list_runs(conversation_id="c")] == ["1", "2"]
    assert [run.run_id for run in await store.list_runs(parent_run_id="p")] == ["1", "3", "4"]
    assert [run.run_id for run in await store.list_runs(parent_run_id="p", conversation_id="c")] == ["1"]
    assert await store.list_runs(conversation_id="none") == []


async def test_events_are_listed_in_the_order_of_their_appends(store):
    for number in (3, 1, 2):
        await store.append_event(event(number))
    assert [each.step_index for each in await store.list_events(run_id="r")] == [3, 1, 2]


async def test_an_event_with_a_known_idempotency_key_is_not_appended(store):
    await store.append_event(event(1, idempotency_key="k"))
    await store.append_event(event(2, idempotency_key="k"))
    await store.append_event(event(3))
    await store.append_event(event(3))
    await store.append_event(event(1, run_id="other", idempotency_key="k"))
    assert [each.step_index for each in await store.list_events(run_id="r")] == [1, 3, 3]
    assert len(await store.list_events(run_id="other")) == 1


async def test_a_snapshot_with_a_known_idempotency_key_is_not_saved(store):
    await store.save_snapshot(snapshot(1, idempotency_key="0:x"))
    await store.save_snapshot(snapshot(2, idempotency_key="1:x"))
    await store.save_snapshot(snapshot(3, idempotency_key="0:x"))
    assert [each.step_index for each in await store.list_snapshots(run_id="r")] == [1, 2]
    assert (await store.latest_snapshot(run_id="r")).step_index == 2


async def test_interrupted_snapshots_are_hidden_unless_asked_for(store):
    for number, state in enumerate(["interrupted", "complete", "interrupted"]):
        await store.save_snapshot(snapshot(number, state=state))
    assert (await store.latest_snapshot(run_id="r")).step_index == 1
    assert (await store.latest_snapshot(run_id="r", include_interrupted=True)).step_index == 2
    assert [each.step_index for each in await store.list_snapshots(run_id="r")] == [1]
    everything = await store.list_snapshots(run_id="r", include_interrupted=True)
    assert [each.step_index for each in everything] == [0, 1, 2]


async def test_interrupted_snapshots_do_not_count_as_complete(store):
    await store.save_snapshot(snapshot(1, state="interrupted"))
    assert await store.latest_snapshot(run_id="r") is None


async def test_the_newest_snapshot_is_the_last_saved_not_the_highest_step(store):
    await store.save_snapshot(snapshot(7))
    await store.save_snapshot(snapshot(0))
    assert (await store.latest_snapshot(run_id="r")).step_index == 0


async def test_the_newest_snapshot_is_an_older_one_if_the_newest_is_deleted_concurrently(store, client, monkeypatch):
    await store.save_snapshot(snapshot(1))
    await store.save_snapshot(snapshot(2, idempotency_key="late"))
    load = client.load

    async def too_late(*args, **options):
        monkeypatch.setattr(client, "load", load)
        await client.delete("agents", "run:r:snapshots", "key-late")
        return await load(*args, **options)

    monkeypatch.setattr(client, "load", too_late)
    assert (await store.latest_snapshot(run_id="r")).step_index == 1


async def test_a_tool_effect_replaces_the_one_before(store):
    await store.record_tool_effect(effect("1"))
    await store.record_tool_effect(effect("1", "completed"))
    assert (await store.get_tool_effect(run_id="r", tool_call_id="1")).status == "completed"
    assert await store.get_tool_effect(run_id="other", tool_call_id="1") is None


async def test_unresolved_tool_effects_are_those_that_began_last_in_the_order_of_their_first_records(store):
    for record in [effect("a"), effect("b"), effect("c", "failed"), effect("b", "completed"), effect("d"), effect("a")]:
        await store.record_tool_effect(record)
    assert [each.tool_call_id for each in await store.list_unresolved_tool_effects(run_id="r")] == ["a", "d"]


@pytest.mark.parametrize("name", IDS)
async def test_any_id_is_accepted_and_distinguished(store, name):
    other = f"{name}2"
    for run_id in (name, other):
        await store.register_run(RunRecord(run_id=run_id, conversation_id=name, parent_run_id=name))
        await store.append_event(event(1, run_id=run_id, idempotency_key=name))
        await store.save_snapshot(snapshot(1, run_id=run_id, idempotency_key=name))
        await store.record_tool_effect(effect(name, run_id=run_id))
    assert (await store.get_run(run_id=name)).run_id == name
    assert len(await store.list_runs(conversation_id=name, parent_run_id=name)) == 2
    assert len(await store.list_events(run_id=name)) == 1
    assert (await store.latest_snapshot(run_id=name)).run_id == name
    assert (await store.get_tool_effect(run_id=name, tool_call_id=name)).tool_call_id == name


async def test_keys_and_filters_too_long_for_an_id_are_distinguished(store):
    long = "k" * 2000
    for key in (f"{long}1", f"{long}2", f"{long}1"):
        await store.append_event(event(1, idempotency_key=key))
        await store.record_tool_effect(effect(key))
    assert len(await store.list_events(run_id="r")) == 2
    assert len(await store.list_unresolved_tool_effects(run_id="r")) == 2


async def test_a_run_id_too_long_for_a_workflow_is_a_typed_error(store):
    with pytest.raises(holdfast.InvalidRequestError, match="workflow_id"):
        await store.append_event(event(1, run_id="x" * 600))


async def test_many_tasks_at_once_lose_nothing(store):
    await asyncio.gather(*(store.append_event(event(number, idempotency_key=str(number))) for number in range(40)))
    await asyncio.gather(*(store.record_tool_effect(effect(str(number))) for number in range(20)))
    await asyncio.gather(*(store.register_run(RunRecord(run_id=str(number))) for number in range(20)))
    assert sorted(each.step_index for each in await store.list_events(run_id="r")) == list(range(40))
    assert len(await store.list_unresolved_tool_effects(run_id="r")) == 20
    assert len(await store.list_runs()) == 20


async def test_a_snapshot_of_any_size_comes_back(store):
    saved = snapshot(1, size=5 << 20)
    await store.save_snapshot(saved)
    assert await store.latest_snapshot(run_id="r") == saved


async def test_older_snapshots_are_deleted_if_the_caller_asks_but_never_the_newest_complete_one(client):
    store = HoldfastStepStore(client, namespace="agents", max_snapshots_per_run=2)
    reference = InMemoryStepStore(max_snapshots_per_run=2)
    for number, state in enumerate(("complete", "complete", "complete", "interrupted", "interrupted", "interrupted")):
        for each in (store, reference):
            await each.save_snapshot(snapshot(number, state=state, idempotency_key=f"{number}:x"))
            # Repeating a save changes nothing, even if its snapshot is deleted by now.
            await each.save_snapshot(snapshot(0, idempotency_key="0:x"))
        for interrupted in (False, True):
            expected = [
                each.step_index for each in await reference.list_snapshots(run_id="r", include_interrupted=interrupted)
            ]
            found = await store.list_snapshots(run_id="r", include_interrupted=interrupted)
            assert [each.step_index for each in found] == expected
    with pytest.raises(ValueError, match="max_snapshots_per_run is 0"):
        HoldfastStepStore(client, namespace="agents", max_snapshots_per_run=0)


@pytest.mark.parametrize("include_interrupted", [False, True])
@pytest.mark.without_deltas
async def test_a_damaged_newest_snapshot_is_an_error(store, served, include_interrupted):
    await store.save_snapshot(snapshot(1, size=100_000))
    await store.save_snapshot(snapshot(2, size=100_000))
    damage_newest(served.folder)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await store.latest_snapshot(run_id="r", include_interrupted=include_interrupted)
    whole, damaged = await store.list_snapshots(run_id="r")
    assert (whole.step_index, damaged.run_id) == (1, "r")
    with pytest.raises(holdfast.CheckpointCorruptedError):
        damaged.messages  # noqa: B018


@pytest.mark.parametrize("include_interrupted", [False, True])
@pytest.mark.without_deltas
async def test_with_fallback_the_last_good_snapshot_is_loaded(client, served, include_interrupted):
    store = HoldfastStepStore(client, namespace="agents", fallback=True)
    await store.save_snapshot(snapshot(1, size=100_000))
    await store.save_snapshot(snapshot(2, size=100_000))
    damage_newest(served.folder)
    assert (await store.latest_snapshot(run_id="r", include_interrupted=include_interrupted)).step_index == 1
    assert [each.step_index for each in await store.list_snapshots(run_id="r")] == [1]


@pytest.mark.parametrize("include_interrupted", [False, True])
@pytest.mark.without_deltas
async def test_with_fallback_and_no_whole_checkpoint_left_it_is_an_error(client, served, include_interrupted):
    store = HoldfastStepStore(client, namespace="agents", fallback=True)
    await store.save_snapshot(snapshot(1, size=100_000))
    await store.save_snapshot(snapshot(2, size=100_000))
    damage_all(served.folder, "*")
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await store.latest_snapshot(run_id="r", include_interrupted=include_interrupted)


@pytest.mark.without_deltas
async def test_a_damaged_interrupted_snapshot_does_not_hide_a_complete_one(store, served):
    await store.save_snapshot(snapshot(1))
    await store.save_snapshot(snapshot(2, size=100_000, state="interrupted"))
    damage_newest(served.folder)
    assert (await store.latest_snapshot(run_id="r")).step_index == 1


async def test_a_damaged_marker_before_another_one_is_an_error_and_no_older_snapshot_is_the_latest(store, served):
    await store.save_snapshot(snapshot(1))
    await store.save_snapshot(snapshot(2))
    await store.save_snapshot(snapshot(3, state="interrupted"))
    damage_marker(served.folder, newer=1)
    async with (
        serving_watched(served.folder.parent) as fresh,
        HoldfastStepStore.from_target(fresh.target, namespace="agents") as strict,
        HoldfastStepStore.from_target(fresh.target, namespace="agents", fallback=True) as falling_back,
    ):
        for call in (strict.latest_snapshot, strict.list_snapshots):
            with pytest.raises(holdfast.CheckpointCorruptedError):
                await call(run_id="r")
        assert (await strict.latest_snapshot(run_id="r", include_interrupted=True)).step_index == 3
        assert (await falling_back.latest_snapshot(run_id="r")).step_index == 1


async def test_a_damaged_marker_of_a_tool_effect_is_an_error_and_no_older_effect_counts(store, served):
    await store.record_tool_effect(effect("1"))
    await store.record_tool_effect(effect("1", status="completed"))
    await store.record_tool_effect(effect("2"))
    damage_marker(served.folder, newer=1)
    async with (
        serving_watched(served.folder.parent) as fresh,
        HoldfastStepStore.from_target(fresh.target, namespace="agents") as strict,
    ):
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await strict.get_tool_effect(run_id="r", tool_call_id="1")
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await strict.list_unresolved_tool_effects(run_id="r")


@pytest.mark.without_deltas
async def test_a_damaged_tool_effect_is_an_error(store, served):
    await store.record_tool_effect(effect("1", effect_summary="x" * 100_000))
    damage_newest(served.folder)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await store.get_tool_effect(run_id="r", tool_call_id="1")
    (damaged,) = await store.list_unresolved_tool_effects(run_id="r")
    assert (damaged.tool_call_id, damaged.status) == ("1", "started")
    assert isinstance(damaged.error, holdfast.CheckpointCorruptedError)


async def test_a_format_of_a_newer_adapter_is_refused(store, client):
    await store.save_snapshot(snapshot(1))
    newer = replace(SNAPSHOT_FORMAT, version=2)
    await client.save("agents", "run:r:snapshots", b"{}", format=newer, labels={"state": "complete"})
    with pytest.raises(holdfast.FormatIncompatibleError):
        await store.latest_snapshot(run_id="r")


async def test_an_unreachable_server_is_a_typed_error():
    async with HoldfastStepStore.from_target("127.0.0.1:1", namespace="agents", timeout=0.5) as store:
        for call in (store.latest_snapshot(run_id="r"), store.append_event(event(1)), store.list_runs()):
            with pytest.raises(holdfast.WorkflowCheckpointResumeError) as caught:
                await call
            assert caught.value.reason in ("SERVER_UNAVAILABLE", "DEADLINE_EXCEEDED")


def scripted(messages, info: AgentInfo) -> ModelResponse:
    done = sum(isinstance(part, ToolReturnPart) for message in messages for part in message.parts)
    if done < 2:
        return ModelResponse(parts=[ToolCallPart(tool_name="work", args={"step": done}, tool_call_id=f"call-{done}")])
    return ModelResponse(parts=[TextPart(f"done after {done}")])


async def run_agent(store: StepStore, run_id: str, *, fails: bool = False):
    agent = Agent(FunctionModel(scripted), capabilities=[StepPersistence(store=store, run_id=run_id, agent_name="a")])

    @agent.tool_plain
    def work(step: int) -> str:
        if fails and step == 1:
            raise RuntimeError("no more")
        return f"result {step}"

    return await agent.run("go")


async def test_a_real_agent_leaves_the_same_items_as_in_memory(store):
    memory = InMemoryStepStore()
    for each in (store, memory):
        await run_agent(each, "r")
    for ours, theirs in zip(await store.list_events(run_id="r"), await memory.list_events(run_id="r"), strict=True):
        assert (ours.kind, ours.step_index, ours.idempotency_key) == (
            theirs.kind,
            theirs.step_index,
            theirs.idempotency_key,
        )
    ours, theirs = await store.list_snapshots(run_id="r"), await memory.list_snapshots(run_id="r")
    assert [each.step_index for each in ours] == [each.step_index for each in theirs]
    assert await store.list_unresolved_tool_effects(run_id="r") == []
    assert [part.content for part in (await continue_run(store, run_id="r"))[-1].parts] == ["done after 2"]


async def test_a_real_agent_that_fails_can_be_inspected_and_its_run_id_is_not_registered_twice(store):
    with pytest.raises(RuntimeError, match="no more"):
        await run_agent(store, "r", fails=True)
    found = await inspect_recovery(store=store, run_id="r")
    assert found.latest.state == "interrupted"
    assert found.settled.state == "complete"
    assert (found.completed_tools, found.failed_tools) == (("work",), ("work",))
    with pytest.raises(ValueError, match="already in the store"):
        await run_agent(store, "r")


async def test_conversation_search_reads_the_store(store):
    await run_agent(store, "r")
    source = SnapshotHistorySource(store)
    assert [run.run_id for run in await source.list_runs()] == ["r"]
    # The prompt, two calls with their results, and the answer.
    assert len(await source.run_history(run_id="r")) == 6


@pytest.mark.verification
@pytest.mark.timeout(300)
def test_a_killed_agent_resumes_to_the_undisturbed_result(tmp_path: Path):
    program = "tests.integration.adapters.programs.pydantic_ai"
    with server((tmp_path / "store").as_uri()) as target:
        calm = killing.run(program, target, tmp_path / "calm")
        assert (calm.result["answer"], calm.result["unresolved"]) == ("0 1 2", [])
        for at in kill_points.points(calm):
            run = killing.run(program, target, tmp_path / f"killed-{at}", kill_at=at)
            assert run.result["answer"] == calm.result["answer"]
            assert run.result["messages"] == calm.result["messages"]
            killed_in = run.points[at - 1].rpartition(" step ")
            if killed_in[1]:
                assert run.result["unresolved"] == [f"call-{killed_in[2]}"]
            for step in range(3):
                ran = run.points.count(f"before step {step}")
                assert 1 <= ran <= 2
                # A step whose snapshot was acknowledged does not run again.
                if f"after snapshot {step}" in run.points:
                    after = run.points.index(f"after snapshot {step}")
                    assert f"before step {step}" not in run.points[after:]
            assert sum(run.points.count(f"before step {step}") for step in range(3)) <= 4


def test_the_code_of_the_page_runs_as_written(tmp_path):
    assert "success (no tool calls)" in pages.output_of("pydantic-ai", tmp_path)
