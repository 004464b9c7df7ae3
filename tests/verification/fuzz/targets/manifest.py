"""`holdfast.json`: any bytes are a manifest that this server supports, or are refused."""

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
    # With a negative grace, new objects would be removed. NaN passes every comparison.
    assert 0 <= grace_seconds <= 366 * 86_400


async def _opened(data: bytes) -> float:
    store = MemoryStore()
    await store.put_if_absent("holdfast.json", data)
    return (await open_layout(store)).grace_seconds
