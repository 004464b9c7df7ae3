"""An import of CrewAI's flows that may be killed at any of its points. Usage: TARGET RESULT.

The result is what the target then has, without times and ids.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import holdfast
from crewai.flow.async_feedback.types import PendingFeedbackContext
from crewai.flow.persistence.sqlite import SQLiteFlowPersistence
from holdfast.adapters.crewai import import_flows

from tests.integration.adapters.killing import point


def make_source(file: Path) -> None:
    """Make a file with two flows of three states each, one of which then waits for a human."""
    persistence = SQLiteFlowPersistence(str(file))
    for step in range(3):
        for flow in ("a", "b"):
            persistence.save_state(flow, "work", {"id": flow, "step": step})
    asked = PendingFeedbackContext("b", "flows.Asking", "ask", "a draft", "is it good?")
    persistence.save_pending_feedback("b", asked, {"id": "b", "step": 3})


async def moved(target: str, folder: Path) -> Any:
    """Import, and return the result."""
    source, namespace = folder / "flows.db", f"moving-crewai-{folder.name}"
    if not source.exists():
        make_source(source)
    async with holdfast.AsyncClient(target, timeout=20) as client:
        report = await import_flows(source, client, namespace=namespace, progress=lambda moved: point(moved.name))
        found = [
            (loaded.info.workflow_id, dict(loaded.info.labels), loaded.parts[""].decode())
            async for loaded in client.history(namespace)
        ]
    return [report.failed, report.verified, found]


def main() -> None:
    """Import, and write the result."""
    target, result = sys.argv[1:]
    Path(result).write_text(json.dumps(asyncio.run(moved(target, Path(result).parent))))


if __name__ == "__main__":
    main()
