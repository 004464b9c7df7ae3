"""Checks whether a store has the properties that the protocol requires, before a server relies on it."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress

from holdfast_server.stores.base import ObjectStore, StoreAccessDeniedError, StoreError

_RACING_WRITES = 16


async def probe(
    store: ObjectStore, where: str, *, why_unprotected: Callable[[str], Awaitable[str]] | None = None
) -> None:
    """Check put-if-absent and listings with a few objects, which are deleted in the end.

    Args:
        store: the store.
        where: endpoint and bucket, for operators.
        why_unprotected: says how an object differs from what the settings require of it, "" if it does not.

    Raises:
        StoreAccessDeniedError: it lacks a property, or refuses access.
        StoreUnavailableError: it cannot be reached.

    """
    folder = f"probe/{uuid.uuid4().hex}/"
    keys = [f"{folder}{name}" for name in ("a", "b-", "b/c")]
    try:
        why_unfit = await _put_if_absent_fails(store, keys[0])
        if not why_unfit and why_unprotected is not None:
            why_unfit = await why_unprotected(keys[0])
        for key in reversed(keys[1:]):
            await store.put_if_absent(key, b"")
        if not why_unfit and [each.key for each in await store.list(folder)] != keys:
            why_unfit = "its listings are stale or unordered"
    finally:
        for key in keys:
            with suppress(StoreError):
                await store.delete(key)
    if why_unfit:
        message = f"the store cannot be used: {why_unfit}"
        raise StoreAccessDeniedError(message, detail=f"{where}: {message}")


async def _put_if_absent_fails(store: ObjectStore, key: str) -> str:
    """Write one key concurrently over several connections: one write must win, and its object must stay.

    Returns:
        why put-if-absent does not hold, "" if it does.

    """
    racing = [f"racer {number}".encode() for number in range(_RACING_WRITES)]
    won = await asyncio.gather(*(store.put_if_absent(key, data) for data in racing))
    winners = [data for data, is_won in zip(racing, won, strict=True) if is_won]
    found = (await store.get(key)).data
    # No write may report success if the winning request was sent twice.
    if len(winners) > 1 or found not in (winners or racing):
        return (
            f"of {_RACING_WRITES} concurrent writes with If-None-Match {len(winners)} succeeded, and the "
            f"object {'is one of these' if found in winners else 'is another one'}: put-if-absent does not hold"
        )
    if await store.put_if_absent(key, b"late") or (await store.get(key)).data != found:
        return "a write with If-None-Match replaced an object: put-if-absent does not hold"
    return ""
