"""Run or continue a conversation of Pydantic AI. Two processes do so at once, and only one of them may own it.

A process that begins waits for a line of input inside its tool. One that continues from the latest snapshot of a run
waits after loading it. At the end it prints its error as JSON. Usage: TARGET RUN_ID PREVIOUS_RUN_ID.
"""

import asyncio
import json
import sys
from typing import Any

from holdfast import HoldfastError
from holdfast.adapters.pydantic_ai import HoldfastStepStore
from pydantic_ai import Agent, ToolCallPart
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_harness.step_persistence import StepPersistence, continue_run


def wait(word: str) -> None:
    print(word, flush=True)  # noqa: T201
    sys.stdin.readline()


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    done = sum(isinstance(part, ToolReturnPart) for message in messages for part in message.parts)
    if done < 2:
        return ModelResponse(parts=[ToolCallPart(tool_name="work", args={"step": done}, tool_call_id=f"call-{done}")])
    return ModelResponse(parts=[TextPart("done")])


async def main(target: str, run_id: str, previous_run_id: str) -> dict[str, Any]:
    async with HoldfastStepStore.from_target(target, namespace="agents", ownership="exclusive") as store:
        agent = Agent(FunctionModel(scripted), capabilities=[StepPersistence(store=store, run_id=run_id)])

        @agent.tool_plain
        async def work(step: int) -> int:
            if step == 1 and not previous_run_id:
                await asyncio.to_thread(wait, "in tool")
            return step

        history = None
        if previous_run_id:
            history = await continue_run(store, run_id=previous_run_id)
            await asyncio.to_thread(wait, "loaded")
        try:
            await agent.run(None if history else "go", message_history=history, conversation_id="talk")
        except HoldfastError as error:
            return {"failure": error.reason}
        return {"failure": ""}


if __name__ == "__main__":
    target, run_id, previous_run_id = sys.argv[1:]
    print(json.dumps(asyncio.run(main(target, run_id, previous_run_id))), flush=True)  # noqa: T201
