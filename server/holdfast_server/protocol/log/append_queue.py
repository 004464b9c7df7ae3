"""One append per workflow at a time in a process: concurrent ones would only lose the revision to each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from holdfast_server.protocol.format.keys import WorkflowKeys


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class AppendQueue:
    """The appends of a process that wait for another one to the same workflow."""

    def __init__(self) -> None:
        self._turns: dict[WorkflowKeys, _Turn] = {}

    @asynccontextmanager
    async def turn(self, keys: WorkflowKeys) -> AsyncIterator[None]:
        """Wait for the earlier appends to a workflow, in order, and hold back later ones until the block ends."""
        turn = self._turns.setdefault(keys, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if turn.users == 0:
                del self._turns[keys]
