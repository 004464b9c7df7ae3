"""Run or resume a workflow of Agent Framework. Two processes do so at once, and only one of them may own the workflow.

With "resume", it continues from the latest checkpoint; with "run", it begins. In the second superstep it prints a line,
and waits for a line of input. At the end it prints its errors as JSON. Usage: TARGET MODE NAME.
"""

import asyncio
import json
import sys
from typing import Any

from agent_framework import WorkflowBuilder, WorkflowContext, executor
from holdfast.adapters.agent_framework import HoldfastCheckpointStorage


def wait(word: str) -> None:
    print(word, flush=True)  # noqa: T201
    sys.stdin.readline()


@executor(id="first")
async def first(value: str, ctx: WorkflowContext[str]) -> None:
    await ctx.send_message(value)


@executor(id="second")
async def second(value: str, ctx: WorkflowContext[str]) -> None:
    await asyncio.to_thread(wait, "in second")
    ctx.set_state("by", sys.argv[3])
    await ctx.send_message(value)


@executor(id="third")
async def third(value: str, ctx: WorkflowContext[None, str]) -> None:
    await ctx.yield_output(value)


async def main(target: str, mode: str) -> dict[str, Any]:
    failures: list[str] = []

    class Watched(HoldfastCheckpointStorage):
        async def save(self, checkpoint: Any) -> str:
            try:
                return await super().save(checkpoint)
            except Exception as error:
                failures.append(type(error).__name__)
                raise

    async with Watched.from_target(target, namespace="n", workflow_id="run", ownership="exclusive") as storage:
        workflow = (
            WorkflowBuilder(name="w", start_executor=first, checkpoint_storage=storage)
            .add_chain([first, second, third])
            .build()
        )
        if mode == "run":
            await workflow.run("go")
        else:
            latest = await storage.get_latest(workflow_name="w")
            assert latest is not None
            await workflow.run(checkpoint_id=latest.checkpoint_id)
        problem = ""
        try:
            await storage.get_latest(workflow_name="w")
        except Exception as error:  # noqa: BLE001 - its text is printed
            problem = str(error)
    return {"failures": failures, "problem": problem}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2]))), flush=True)  # noqa: T201
