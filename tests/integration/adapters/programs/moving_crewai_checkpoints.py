"""An import of CrewAI's checkpoints that may be killed at any of its points. Usage: TARGET RESULT.

The result is what the target then has, without times and ids.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import holdfast
import pytest
from crewai.state.provider import sqlite_provider
from holdfast.adapters.crewai import import_checkpoints

from tests.integration.adapters.killing import point
from tests.support.jsonb import give_sqlite_jsonb


def make_source(file: Path) -> None:
    """Make a file with two branches of four checkpoints each."""
    provider = sqlite_provider.SqliteProvider()
    with pytest.MonkeyPatch.context() as patch:
        give_sqlite_jsonb(patch, sqlite_provider)
        for step in range(4):
            for branch in ("main", "other"):
                flow = {"entity_type": "flow", "checkpoint_state": {"id": branch, "step": step}}
                provider.checkpoint(json.dumps({"branch": branch, "entities": [flow]}), str(file), branch=branch)


async def moved(target: str, folder: Path) -> Any:
    """Import, and return the result."""
    source, namespace = folder / "run.db", f"moving-checkpoints-{folder.name}"
    if not source.exists():
        make_source(source)
    async with holdfast.AsyncClient(target, timeout=20) as client:
        report = await import_checkpoints(source, client, namespace=namespace, progress=lambda moved: point(moved.name))
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
