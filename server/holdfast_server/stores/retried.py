"""Store requests that are tried again beneath the call that needs them.

For requests that may be sent twice, and that are one of many: what the others have done must not be lost with the one
that a busy store refused. A call that needs only one request leaves trying again to its caller.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from holdfast_server.stores.base import StoreUnavailableError

_TRIES = 5
_PAUSE_SECONDS = 0.1

_Answer = TypeVar("_Answer")


async def retried(send: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Send until there is an answer, a few times, with exponential backoff and full jitter.

    Raises:
        StoreUnavailableError: the last try's.

    """
    for tried in range(_TRIES - 1):
        try:
            return await send()
        except StoreUnavailableError:
            await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * 2**tried))
    return await send()
