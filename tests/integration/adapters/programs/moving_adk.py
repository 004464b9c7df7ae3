"""An import of ADK's sessions that may be killed at any of its points. Usage: TARGET RESULT.

The result is what the target then has, without times. A file sessions.db beside the folder is taken as the source.
"""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import holdfast
from google.adk.events import Event, EventActions
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from holdfast.adapters.adk import HoldfastSessionService, import_sessions

from tests.integration.adapters.killing import point


async def make_source(file: Path) -> None:
    """Make a file with two sessions of three events each, which change all states."""
    service = SqliteSessionService(str(file))
    for name in ("a", "b"):
        session = await service.create_session(app_name="app", user_id="u", session_id=name, state={"n": 0})
        for step in range(3):
            event = Event(author="agent", actions=EventActions(state_delta={"n": step, f"app:{name}": step}))
            await service.append_event(session, event)
    await service.close()


async def moved(target: str, folder: Path) -> Any:
    """Import, and return the result."""
    source, namespace = folder / "sessions.db", f"moving-adk-{folder.name}"
    made = folder.parent / "sessions.db"
    if made.exists():
        shutil.copy(made, source)
    if not source.exists():
        await make_source(source)
    async with holdfast.AsyncClient(target, timeout=20) as client:
        report = await import_sessions(source, client, namespace=namespace, progress=lambda moved: point(moved.name))
        service = HoldfastSessionService(client, namespace=namespace)
        sessions = [
            (await service.get_session(app_name="app", user_id="u", session_id=name)).model_dump(mode="json")
            for name in ("a", "b")
        ]
        stored = [
            (loaded.info.workflow_id, sorted(loaded.parts), loaded.parts.get("changes", b"").decode())
            async for loaded in client.history(namespace)
        ]
    return [report.failed, report.verified, sessions, stored]


def main() -> None:
    """Import, and write the result."""
    target, result = sys.argv[1:]
    Path(result).write_text(json.dumps(asyncio.run(moved(target, Path(result).parent))))


if __name__ == "__main__":
    main()
