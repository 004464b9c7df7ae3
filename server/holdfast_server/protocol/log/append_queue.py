"""One append per workflow at a time in a process: concurrent ones would only lose the revision to each other."""

import asyncio

from holdfast_server.protocol.format.keys import WorkflowKeys


class AppendQueue:
    """The appends of a process that wait for another one to the same workflow."""

    def __init__(self) -> None:
        self._turns: dict[WorkflowKeys, Turn] = {}

    def turn(self, keys: WorkflowKeys) -> "Turn":
        """Return a block that waits for the earlier appends to a workflow, in order, and holds back later ones."""
        turn = self._turns.get(keys)
        if turn is None:
            turn = self._turns[keys] = Turn(self._turns, keys)
        return turn


class Turn:
    """The turns of the appends to one workflow, for as long as there are any. Each is an `async with` block."""

    __slots__ = ("_keys", "_lock", "_turns", "_users")

    def __init__(self, turns: dict[WorkflowKeys, "Turn"], keys: WorkflowKeys) -> None:
        self._turns = turns
        self._keys = keys
        self._lock = asyncio.Lock()
        self._users = 0

    async def __aenter__(self) -> None:
        self._users += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            del self._turns[self._keys]
