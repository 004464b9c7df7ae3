"""Run an agent of three steps that may be killed anywhere. A new process continues from its newest snapshot.

A step may run twice if the kill came after it began and before the snapshot after it was acknowledged: at most one step
for each kill. A step whose snapshot was acknowledged never runs again. The call that was in flight is among the
unresolved tool effects, which are part of the result.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from holdfast.adapters.pydantic_ai import HoldfastStepStore
from pydantic_ai import Agent, ToolCallPart
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_harness.step_persistence import ContinuableSnapshot, StepPersistence, ToolEffectRecord

from tests.integration.adapters.killing import point

STEPS = 3


class PointedStore(HoldfastStepStore):
    async def save_snapshot(self, snapshot: ContinuableSnapshot) -> None:
        # The last snapshot has the answer, and as many results as the one before it.
        answered = isinstance(snapshot.messages[-1], ModelResponse)
        name = "answer" if answered else str(len(returns(snapshot.messages)) - 1)
        point(f"before snapshot {name}")
        await super().save_snapshot(snapshot)
        point(f"after snapshot {name}")

    async def record_tool_effect(self, record: ToolEffectRecord) -> None:
        point(f"before effect {record.tool_call_id} {record.status}")
        await super().record_tool_effect(record)
        point(f"after effect {record.tool_call_id} {record.status}")


def returns(messages: list[ModelMessage]) -> list[ToolReturnPart]:
    return [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    done = returns(messages)
    if len(done) < STEPS:
        call = ToolCallPart(tool_name="work", args={"step": len(done)}, tool_call_id=f"call-{len(done)}")
        return ModelResponse(parts=[call])
    return ModelResponse(parts=[TextPart(" ".join(str(part.content) for part in done))])


async def main(target: str, namespace: str) -> dict[str, Any]:
    async with PointedStore.from_target(target, namespace=namespace) as store:
        runs = await store.list_runs(conversation_id="talk")
        unresolved = [
            effect.tool_call_id
            for run in runs
            for effect in await store.list_unresolved_tool_effects(run_id=run.run_id)
        ]
        history: list[ModelMessage] = []
        for run in runs:
            snapshot = await store.latest_snapshot(run_id=run.run_id)
            history = history if snapshot is None else snapshot.messages
        run_id = f"attempt-{len(runs)}"
        agent = Agent(FunctionModel(scripted), capabilities=[StepPersistence(store=store, run_id=run_id)])

        @agent.tool_plain
        async def work(step: int) -> int:
            point(f"before step {step}")
            point(f"after step {step}")
            return step

        if not (history and isinstance(history[-1], ModelResponse)):
            prompt = None if history else "go"
            history = (await agent.run(prompt, message_history=history, conversation_id="talk")).all_messages()
    shapes = [[part.part_kind for part in message.parts] for message in history]
    return {"answer": history[-1].parts[0].content, "messages": shapes, "unresolved": unresolved}


if __name__ == "__main__":
    result = Path(sys.argv[2])
    result.write_text(json.dumps(asyncio.run(main(sys.argv[1], result.parent.name))))
