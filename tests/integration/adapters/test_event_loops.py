"""Agent Framework and Pydantic AI in several event loops: one after another, at once, with a client made outside."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import holdfast
import pytest

from tests.support.required import require_engine

require_engine("agent_framework")
require_engine("pydantic_ai_harness")

from agent_framework import WorkflowBuilder, WorkflowContext, executor  # noqa: E402
from holdfast.adapters.agent_framework import HoldfastCheckpointStorage  # noqa: E402
from holdfast.adapters.pydantic_ai import HoldfastStepStore  # noqa: E402
from pydantic_ai import Agent, ToolCallPart  # noqa: E402
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolReturnPart  # noqa: E402
from pydantic_ai.models.function import AgentInfo, FunctionModel  # noqa: E402
from pydantic_ai_harness.step_persistence import StepPersistence  # noqa: E402

OWNERSHIPS = ["shared", "exclusive"]


@pytest.fixture
def client(target: str) -> Iterator[holdfast.AsyncClient]:
    client = holdfast.AsyncClient(target, timeout=20)
    yield client
    asyncio.run(client.close())


def in_thread(call: Any) -> Any:
    """Return the result of a call in a new thread, where it may run an event loop."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    done = sum(isinstance(part, ToolReturnPart) for message in messages for part in message.parts)
    if done < 1:
        return ModelResponse(parts=[ToolCallPart(tool_name="work", args={}, tool_call_id="call")])
    return ModelResponse(parts=[TextPart("done")])


def agent(store: HoldfastStepStore, run_id: str) -> Any:
    made = Agent(FunctionModel(scripted), capabilities=[StepPersistence(store=store, run_id=run_id)])

    @made.tool_plain
    def work() -> str:
        return "result"

    return made


@pytest.mark.parametrize("ownership", OWNERSHIPS)
def test_an_agent_run_by_run_sync_again_and_again_keeps_all_its_steps(client, ownership):
    store = HoldfastStepStore(client, namespace=f"sync-{ownership}", ownership=ownership)
    for number in range(3):
        assert agent(store, f"r-{number}").run_sync("go").output == "done"
    assert in_thread(lambda: agent(store, "r-3").run_sync("go").output) == "done"
    for number in range(4):
        snapshot = asyncio.run(store.latest_snapshot(run_id=f"r-{number}"))
        assert snapshot.messages[-1].parts[0].content == "done"
        assert asyncio.run(store.list_events(run_id=f"r-{number}"))[-1].kind == "run_completed"
    assert len(asyncio.run(store.list_runs())) == 4


def test_agents_of_one_store_run_in_two_loops_at_once(client):
    store = HoldfastStepStore(client, namespace="at-once")

    async def both() -> list[Any]:
        elsewhere = asyncio.to_thread(lambda: asyncio.run(agent(store, "there").run("go")))
        return list(await asyncio.gather(agent(store, "here").run("go"), elsewhere))

    assert [each.output for each in asyncio.run(both())] == ["done", "done"]
    assert {each.run_id for each in asyncio.run(store.list_runs())} == {"here", "there"}


@executor(id="first")
async def first(value: int, ctx: WorkflowContext[int]) -> None:
    await ctx.send_message(value + 1)


@executor(id="second")
async def second(value: int, ctx: WorkflowContext[None, int]) -> None:
    ctx.set_state("value", value)
    await ctx.yield_output(value)


def chain(storage: HoldfastCheckpointStorage) -> Any:
    return (
        WorkflowBuilder(name="w", start_executor=first, checkpoint_storage=storage).add_chain([first, second]).build()
    )


@pytest.mark.parametrize("ownership", OWNERSHIPS)
def test_a_workflow_that_is_run_from_one_loop_after_another_has_all_its_checkpoints(client, ownership):
    storage = HoldfastCheckpointStorage(client, workflow_id=f"turns-{ownership}", ownership=ownership)

    async def run(value: int) -> Any:
        return await chain(storage).run(value)

    async def resume() -> Any:
        latest = await storage.get_latest(workflow_name="w")
        return await chain(storage).run(checkpoint_id=latest.checkpoint_id)

    assert asyncio.run(run(1)).get_outputs() == [2]
    assert len(asyncio.run(storage.list_checkpoint_ids(workflow_name="w"))) == 3
    assert in_thread(lambda: asyncio.run(run(5))).get_outputs() == [6]
    assert len(asyncio.run(storage.list_checkpoint_ids(workflow_name="w"))) == 6
    asyncio.run(resume())
    assert asyncio.run(storage.get_latest(workflow_name="w")).state["value"] == 6


def test_a_storage_opened_in_one_loop_saves_for_a_workflow_that_another_loop_runs(target):
    async def main() -> list[str]:
        async with HoldfastCheckpointStorage.from_target(target, workflow_id="two-loops") as storage:
            here = chain(storage).run(1)
            there = asyncio.to_thread(lambda: asyncio.run(run_there(storage)))
            await asyncio.gather(here, there)
            return await storage.list_checkpoint_ids(workflow_name="w")

    async def run_there(storage: HoldfastCheckpointStorage) -> None:
        await chain(storage).run(10)

    assert len(asyncio.run(main())) == 6
