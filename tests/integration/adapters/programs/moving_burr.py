"""An import of Burr's applications that may be killed at any of its points. Usage: TARGET RESULT.

The result is what the target then has, without times.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import holdfast
from burr.core import State
from burr.core.persistence import SQLitePersister
from holdfast.adapters.burr import import_applications

from tests.integration.adapters.killing import point


def make_source(file: Path) -> None:
    """Make a file with three applications of three steps each."""
    persister = SQLitePersister(str(file))
    persister.initialize()
    for step in range(3):
        for app_id in ("a", "b", "c"):
            persister.save("p", app_id, step, "act", State({"app": app_id, "step": step}), "completed")
    persister.cleanup()


async def moved(target: str, folder: Path) -> Any:
    """Import, and return the result."""
    source, namespace = folder / "burr.db", f"moving-burr-{folder.name}"
    if not source.exists():
        make_source(source)
    async with holdfast.AsyncClient(target, timeout=20) as client:
        report = await import_applications(
            source, client, namespace=namespace, progress=lambda moved: point(moved.name)
        )
        found = [
            (loaded.info.workflow_id, loaded.checkpoint_id, dict(loaded.info.labels), loaded.data.decode())
            async for loaded in client.history(namespace)
        ]
    return [report.failed, report.verified, found]


def main() -> None:
    """Import, and write the result."""
    target, result = sys.argv[1:]
    Path(result).write_text(json.dumps(asyncio.run(moved(target, Path(result).parent))))


if __name__ == "__main__":
    main()
