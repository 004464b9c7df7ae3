"""One append per workflow at a time in this process: others would only lose their slots."""

import asyncio
from dataclasses import dataclass

from holdfast_server.protocol.format.keys import WorkflowKeys


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock
    waiting: int = 0


class TurnOf:
    """Waits for the turn of a workflow, and ends it with the block.

    Args:
        turns: of all workflows that have one.
        keys: the workflow.

    """

    def __init__(self, turns: "Turns", keys: WorkflowKeys) -> None:
        self._turns = turns
        self._keys = keys

    async def __aenter__(self) -> None:
        turn = self._turns.setdefault(self._keys, _Turn(asyncio.Lock()))
        turn.waiting += 1
        try:
            await turn.lock.acquire()
        except BaseException:
            self._leave(turn)
            raise

    async def __aexit__(self, *_: object) -> None:
        turn = self._turns[self._keys]
        turn.lock.release()
        self._leave(turn)

    def _leave(self, turn: _Turn) -> None:
        turn.waiting -= 1
        if turn.waiting == 0:
            del self._turns[self._keys]


Turns = dict[WorkflowKeys, _Turn]
