"""Three jobs at once on one asynchronous client, each with checkpoints of two named parts; then the history of one.

Usage: python -m examples.asynchronous [TARGET]
"""

import asyncio
import json
import sys

import holdfast

STEPS = 3
FORMAT = holdfast.Format("transcript", 1)


async def main(target: str = "file:///tmp/holdfast-examples") -> None:
    """Run the jobs, then list what one of them saved."""
    async with holdfast.AsyncClient(target) as client:
        async with asyncio.TaskGroup() as group:
            for name in ("anna", "ben", "cara"):
                group.create_task(job(client, name))
        async for checkpoint in client.list("examples", "transcript-anna"):
            print(f"revision {checkpoint.revision}: step {checkpoint.labels['step']}, {checkpoint.size_bytes} bytes")


async def job(client: holdfast.AsyncClient, name: str) -> None:
    """Write a transcript, and save it after every line."""
    workflow = client.workflow("examples", f"transcript-{name}")
    await workflow.acquire_writer()
    try:
        loaded = await workflow.resume(format=FORMAT)
        step, text = json.loads(loaded.parts["progress"])["step"], loaded.parts["text"].decode()
    except holdfast.CheckpointNotFoundError:
        step, text = 0, ""
    while step < STEPS:
        step, text = step + 1, f"{text}line {step + 1} of {name}\n"
        parts = {"progress": json.dumps({"step": step}).encode(), "text": text.encode()}
        await workflow.save(parts, format=FORMAT, labels={"step": str(step)})
    print(f"{name} is at step {step}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
