"""Put-if-absent with doubt handled: won, lost, or honestly unknown.

A store's refusal never proves loss by itself, since an HTTP client may have sent the request twice; a
failed request never proves anything, since it may still land. So both are settled by reading the
key: whose request id lies there has won. Where that cannot be found out in time, the outcome is
COMMIT_UNKNOWN, and nothing is cleaned up.
"""

import asyncio
from collections.abc import Callable

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreAccessDeniedError, StoreUnavailableError

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
        HoldfastError: COMMIT_UNKNOWN.
        StoreAccessDeniedError: the store refused every request, and nothing lies there.

    """
    pause = _PAUSE_SECONDS
    may_land = False
    try:
        async with asyncio.timeout_at(deadline):
            while True:
                denied: StoreAccessDeniedError | None = None
                try:
                    if await store.put_if_absent(key, data):
                        return None
                    may_land = True
                except StoreUnavailableError:
                    may_land = True
                except StoreAccessDeniedError as error:
                    # Of two sends underneath, one may have been let through.
                    denied = error
                try:
                    found = (await store.get(key)).data
                    return None if is_mine(found) else found
                except (ObjectNotFoundError, StoreUnavailableError) as error:
                    if denied is not None and not may_land and isinstance(error, ObjectNotFoundError):
                        raise denied from None
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    except StoreAccessDeniedError as error:
        if error is denied:
            raise
        raise _unknown(key) from None
    except TimeoutError:
        raise _unknown(key) from None


def _unknown(key: str) -> HoldfastError:
    return HoldfastError(Reason.COMMIT_UNKNOWN, "the store did not tell in time whether the commit happened", key=key)
