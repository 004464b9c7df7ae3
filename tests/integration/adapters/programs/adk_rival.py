"""A session that is appended to one event at a time, for two processes. Usage: TARGET OWNERSHIP NAME."""

import asyncio
import sys
from typing import Any

from google.adk.events import Event, EventActions
from holdfast.adapters.adk import HoldfastSessionService

from tests.integration.adapters.rivals import obey

WHO = {"app_name": "app", "user_id": "u", "session_id": "s"}


def main(target: str, ownership: Any, name: str) -> None:
    """Do what is asked for, each time in a loop of its own."""
    running: list[Any] = []

    async def begin(service: HoldfastSessionService) -> Any:
        running[:] = [await service.get_session(**WHO) or await service.create_session(**WHO)]
        return [each.author for each in running[0].events]

    async def step(service: HoldfastSessionService) -> Any:
        actions = EventActions(state_delta={"last": name, "app:last": name})
        await service.append_event(running[0], Event(author=name, actions=actions))
        return [each.author for each in running[0].events]

    async def forget(service: HoldfastSessionService) -> Any:
        # A copy without its mark, as one that went through JSON, at a time that no event is later than.
        running[0]._storage_update_marker = None
        running[0].last_update_time = 1e10

    def do(what: Any) -> Any:
        async def done() -> Any:
            async with HoldfastSessionService.from_target(
                target, namespace="rivals", ownership=ownership, timeout=20
            ) as service:
                return await what(service)

        return lambda: asyncio.run(done())

    obey({"begin": do(begin), "step": do(step), "forget": do(forget)})


if __name__ == "__main__":
    main(*sys.argv[1:])
