"""Put-if-absent with three outcomes: won, lost, or unknown.

Two answers of a store prove nothing by themselves:

- "the key exists": an HTTP client may have sent the request twice, and the first one created the object;
- a failure: the request may still land, unless the store says that nothing was written.

Both are settled by reading the key. The request whose object is there has won, and stays the winner, since a store
returns only durable objects. If the key cannot be read in time, the outcome is COMMIT_UNKNOWN, and nothing is cleaned
up.
"""

import asyncio
from collections.abc import Callable

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.stores.base import (
    NothingWrittenError,
    ObjectNotFoundError,
    ObjectStore,
    StoreAccessDeniedError,
    StoreSettingsError,
    StoreUnavailableError,
)

_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


async def put_if_absent(
    store: ObjectStore, key: str, data: bytes, *, is_mine: Callable[[bytes], bool], deadline: float
) -> bytes | None:
    """Create an object unless the key has one. Sends the request until its outcome is known.

    Args:
        store: the store.
        key: the key.
        data: the object; every attempt sends the same bytes.
        is_mine: returns whether an object with the key was written by this request.
        deadline: when to give up, in the event loop's time.

    Returns:
        None if this request's object is in place, otherwise the object that is there instead.

    Raises:
        HoldfastError: COMMIT_UNKNOWN; CHECKPOINT_CORRUPTED: the object with the key is larger than any marker.
        StoreAccessDeniedError: the store refused every request and the key has no object, or nothing was ever sent.
        NothingWrittenError: the store could not write the first request.

    """
    pause = _PAUSE_SECONDS
    may_land = False
    last_said = "nothing"
    try:
        async with asyncio.timeout_at(deadline):
            while True:
                denied: StoreAccessDeniedError | None = None
                try:
                    if await store.put_if_absent(key, data):
                        return None
                    may_land = True
                except StoreUnavailableError as error:
                    if isinstance(error, NothingWrittenError) and not may_land:
                        raise
                    may_land = True
                    last_said = str(error)
                except StoreAccessDeniedError as error:
                    denied = error
                    if isinstance(error, StoreSettingsError) and not may_land:
                        raise
                    # The HTTP client may have sent the request twice, with one of them accepted.
                try:
                    found = await read_whole(store, key)
                    return None if is_mine(found) else found
                except ObjectNotFoundError:
                    if denied is not None and not may_land:
                        raise denied from None
                except StoreUnavailableError as error:
                    last_said = str(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    except StoreAccessDeniedError as error:
        if error is denied:
            raise
        raise _unknown(key, str(error)) from None
    except TimeoutError:
        raise _unknown(key, last_said) from None


def _unknown(key: str, last_said: str) -> HoldfastError:
    return HoldfastError(
        Reason.COMMIT_UNKNOWN,
        f"whether the commit happened could not be learned in time; the store's last answer: {last_said}",
        key=key,
        last_said=last_said,
    )
