"""`holdfast.json`: any bytes are the manifest of a store that this server can use, or refused."""

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.stores.memory import MemoryStore

from tests.support.inline_loop import run


def check(data: bytes) -> None:
    try:
        grace_seconds = run(_opened(data))
    except HoldfastError as error:
        assert error.reason is Reason.LAYOUT_UNSUPPORTED
        return
    # Negative, it would have what was just written removed; and no number is less than what is none.
    assert 0 <= grace_seconds <= 366 * 86_400


async def _opened(data: bytes) -> float:
    store = MemoryStore()
    await store.put_if_absent("holdfast.json", data)
    return await open_layout(store)
