"""Run a Temporal workflow with three activities that pass on large texts. The worker may be killed anywhere.

The Temporal server that HOLDFAST_TEST_TEMPORAL_TARGET names keeps the history, Holdfast the payloads. Only an activity
whose completion had not reached Temporal when the worker was killed may run twice. Temporal replays the workflow's
code, and the payloads that it stores again get the same claims. Usage: TARGET RESULT.
"""

import asyncio
import dataclasses
import hashlib
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from holdfast.adapters.temporal import HoldfastStorageDriver
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.converter import DataConverter, ExternalStorage
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.integration.adapters.killing import point

SIZE = 300_000
ATTEMPT = timedelta(seconds=2)


class Journalled(HoldfastStorageDriver):
    """A driver with points around each of its calls."""

    async def store(self, context, payloads):
        point("before store")
        claims = await super().store(context, payloads)
        point("after store")
        return claims

    async def retrieve(self, context, claims):
        point("before retrieve")
        payloads = await super().retrieve(context, claims)
        point("after retrieve")
        return payloads


@activity.defn
async def extend(text: str) -> str:
    """Return the model's answer to the conversation so far."""
    step = len(text) - SIZE + 1
    point(f"before step {step}")
    answer = hashlib.sha256(text.encode()).hexdigest()
    point(f"after step {step}")
    return (answer * SIZE)[: SIZE + step]


@workflow.defn
class Conversation:
    """A conversation of three answers, each to the one before."""

    @workflow.run
    async def run(self, text: str) -> list[str]:
        """Run the conversation."""
        said = []
        for _ in range(3):
            text = await workflow.execute_activity(extend, text, start_to_close_timeout=ATTEMPT)
            said.append(text)
        return said


def main() -> None:
    """Run the conversation, and write its result."""
    target, result = sys.argv[1:]
    said = asyncio.run(converse(target, hashlib.sha256(result.encode()).hexdigest()))
    digests = [hashlib.sha256(each.encode()).hexdigest() for each in said]
    Path(result).write_text(json.dumps({"sizes": [len(each) for each in said], "digests": digests}))


async def converse(target: str, name: str) -> list[str]:
    """Start the workflow unless it was started before, and run its worker until it ends."""
    async with Journalled.from_target(target, namespace="temporal", timeout=20) as driver:
        storage = ExternalStorage(drivers=[driver], payload_size_threshold=1_000)
        client = await Client.connect(
            os.environ["HOLDFAST_TEST_TEMPORAL_TARGET"],
            data_converter=dataclasses.replace(DataConverter.default, external_storage=storage),
        )
        try:
            handle = await client.start_workflow(
                Conversation.run,
                "x" * SIZE,
                id=f"conversation-{name}",
                task_queue=name,
                task_timeout=ATTEMPT,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            )
        except WorkflowAlreadyStartedError:
            handle = client.get_workflow_handle_for(Conversation.run, f"conversation-{name}")
        async with Worker(
            client,
            task_queue=name,
            workflows=[Conversation],
            activities=[extend],
            workflow_runner=UnsandboxedWorkflowRunner(),
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        ):
            return await handle.result()


if __name__ == "__main__":
    main()
    # Temporal's threads outlive the event loop, and make some interpreters abort when they shut down
    # (temporalio/sdk-python issue 300), after the program has finished.
    os._exit(0)
