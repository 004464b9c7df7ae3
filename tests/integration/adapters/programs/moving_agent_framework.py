"""An import of Agent Framework's checkpoints that may be killed at any of its points. Usage: TARGET RESULT.

The result is what the target then has, without times.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import holdfast
from agent_framework import FileCheckpointStorage, WorkflowCheckpoint
from holdfast.adapters.agent_framework import import_checkpoints

from tests.integration.adapters.killing import point


async def make_source(folder: Path) -> None:
    """Make a folder with five checkpoints."""
    storage = FileCheckpointStorage(folder)
    for step in range(5):
        await storage.save(
            WorkflowCheckpoint(
                "w",
                "hash",
                checkpoint_id=f"c-{step}",
                previous_checkpoint_id=f"c-{step - 1}" if step else None,
                timestamp=f"2026-01-02T00:00:0{step}+00:00",
                state={"seen": (step, {step})},
            )
        )


async def moved(target: str, folder: Path) -> Any:
    """Import, and return the result."""
    source, namespace = folder / "checkpoints", f"moving-agent-framework-{folder.name}"
    if not source.exists():
        await make_source(source)
    async with holdfast.AsyncClient(target, timeout=20) as client:
        report = await import_checkpoints(source, client, namespace=namespace, progress=lambda moved: point(moved.name))
        found = [
            (loaded.checkpoint_id, loaded.info.parent_id, dict(loaded.info.labels), loaded.data.decode())
            async for loaded in client.history(namespace)
        ]
    return [report.failed, report.verified, found]


def main() -> None:
    """Import, and write the result."""
    target, result = sys.argv[1:]
    Path(result).write_text(json.dumps(asyncio.run(moved(target, Path(result).parent))))


if __name__ == "__main__":
    main()
