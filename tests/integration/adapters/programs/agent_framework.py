"""Run a workflow of five executors, two of them agents with a scripted model, with its checkpoints in Holdfast.

The engine saves a checkpoint when a run begins and after each superstep, which is one executor here. A new process
restores the latest checkpoint, or begins if none exists.

The output that an executor yields is not part of a checkpoint. So the last executor also sets it in the workflow's
state, where a process that resumes after the last superstep finds it.

The executor whose superstep had no checkpoint yet when the process died may run twice. Executors before the last saved
checkpoint never run again.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agent_framework import (
    Agent,
    AgentExecutor,
    AgentExecutorRequest,
    AgentExecutorResponse,
    BaseChatClient,
    ChatResponse,
    Executor,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    handler,
)
from holdfast.adapters.agent_framework import HoldfastCheckpointStorage

from tests.integration.adapters.killing import point


class Scripted(BaseChatClient):  # type: ignore[type-arg]
    """A model whose answer contains its name and the number of messages that it received."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    async def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **_: Any) -> ChatResponse:
        point(f"begin {self.name}")
        answer = f"{self.name} of {len(messages)} messages"
        point(f"end {self.name}")
        return ChatResponse(messages=[Message("assistant", [answer])], response_id=f"{self.name}-1")


class Points(HoldfastCheckpointStorage):
    """The adapter, with a point before and after each save."""

    async def save(self, checkpoint: Any) -> str:
        point(f"saving {checkpoint.iteration_count}")
        saved = await super().save(checkpoint)
        point(f"saved {checkpoint.iteration_count}")
        return saved


class Collect(Executor):
    @handler
    async def collect(self, topic: str, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
        point("begin collect")
        ctx.set_state("topic", topic)
        await ctx.send_message(AgentExecutorRequest([Message("user", [f"Write about {topic}."])]))
        point("end collect")


class Count(Executor):
    def __init__(self) -> None:
        super().__init__(id="count")
        self.seen: list[str] = []

    @handler
    async def count(self, answer: AgentExecutorResponse, ctx: WorkflowContext[str]) -> None:
        point("begin count")
        self.seen += [each.text for each in answer.full_conversation]
        await ctx.send_message(answer.agent_response.text)
        point("end count")

    async def on_checkpoint_save(self) -> dict[str, Any]:
        return {"seen": self.seen}

    async def on_checkpoint_restore(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


class Publish(Executor):
    def __init__(self, count: Count) -> None:
        super().__init__(id="publish")
        self._count = count

    @handler
    async def publish(self, text: str, ctx: WorkflowContext[None, dict[str, Any]]) -> None:
        point("begin publish")
        article = {"text": text, "topic": ctx.get_state("topic"), "seen": self._count.seen}
        ctx.set_state("article", article)
        await ctx.yield_output(article)
        point("end publish")


async def main(target: str, namespace: str) -> Any:
    """Run the workflow from its latest checkpoint, and return its result."""
    async with Points.from_target(target, namespace=namespace, workflow_id="article", timeout=60) as storage:
        collect, count = Collect(id="collect"), Count()
        write, review = (
            AgentExecutor(Agent(client=Scripted(name), name=name), id=name) for name in ("write", "review")
        )
        publish = Publish(count)
        workflow = (
            WorkflowBuilder(name="article", start_executor=collect, checkpoint_storage=storage)
            .add_chain([collect, write, review, count, publish])
            .build()
        )
        latest = await storage.get_latest(workflow_name="article")
        if latest is None:
            await workflow.run("holdfast")
        else:
            await workflow.run(checkpoint_id=latest.checkpoint_id)
        final = await storage.get_latest(workflow_name="article")
        assert final is not None
        return final.state["article"]


if __name__ == "__main__":
    result = Path(sys.argv[2])
    result.write_text(json.dumps(asyncio.run(main(sys.argv[1], result.parent.parent.name))))
