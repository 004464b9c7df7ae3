"""Put-if-absent with doubt handled: won, lost, or honestly unknown.

A store's refusal never proves loss by itself, since an HTTP client may have sent the request twice; a
failed request never proves anything, since it may still land, unless the store says that nothing was written. So both
are settled by reading the key: whose request id lies there has won, and stays, since a store tells of nothing that may
still be lost. Where that cannot be found out in time, the outcome is COMMIT_UNKNOWN, and nothing is cleaned up.
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
    """Create an object unless the key has one; sends again until the outcome is known.

    Args:
        store: where.
        key: the key.
        data: the object; the same bytes are sent on every try.
        is_mine: whether an object found under the key was written by this very request.
        deadline: until when to try, in the event loop's time.

    Returns:
        None where this request's object is in place, else the object that is there instead.

    Raises:
        HoldfastError: COMMIT_UNKNOWN; CHECKPOINT_CORRUPTED: what lies there is larger than any marker.
        StoreAccessDeniedError: the store refused every request, and nothing lies there, or nothing was ever sent.
        NothingWrittenError: that became of the first request.

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
                    # Of two sends underneath, one may have been let through.
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
        f"the store did not tell in time whether the commit happened; the last that it said: {last_said}",
        key=key,
        last_said=last_said,
    )
