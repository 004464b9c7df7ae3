"""Append to a session one event at a time, on command, in two processes. Usage: TARGET OWNERSHIP NAME."""

import asyncio
import sys
from typing import Any

from google.adk.events import Event, EventActions
from holdfast.adapters.adk import HoldfastSessionService

from tests.integration.adapters.rivals import obey

WHO = {"app_name": "app", "user_id": "u", "session_id": "s"}


def main(target: str, ownership: Any, name: str) -> None:
    """Obey commands, each in a new event loop."""
    running: list[Any] = []

    async def begin(service: HoldfastSessionService) -> Any:
        running[:] = [await service.get_session(**WHO) or await service.create_session(**WHO)]
        return [each.author for each in running[0].events]

    async def step(service: HoldfastSessionService) -> Any:
        actions = EventActions(state_delta={"last": name, "app:last": name})
        await service.append_event(running[0], Event(author=name, actions=actions))
        return [each.author for each in running[0].events]

    async def forget(service: HoldfastSessionService) -> Any:
        # Like a copy that went through JSON: without an origin. No event is later than its time.
        running[0]._storage_update_marker = None
        running[0].last_update_time = 1e10

    def do(command: Any) -> Any:
        async def done() -> Any:
            async with HoldfastSessionService.from_target(
                target, namespace="rivals", ownership=ownership, timeout=20
            ) as service:
                return await command(service)

        return lambda: asyncio.run(done())

    obey({"begin": do(begin), "step": do(step), "forget": do(forget)})


if __name__ == "__main__":
    main(*sys.argv[1:])
