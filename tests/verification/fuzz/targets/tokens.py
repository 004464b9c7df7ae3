"""Page tokens: any text is a position in a listing, or is refused."""

from holdfast_server.api import requests
from holdfast_server.protocol.checkpoints import workflows
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore

from tests.support.inline_loop import run
from tests.verification.fuzz.reader import Reader


def check(data: bytes) -> None:
    reader = Reader(data)
    names_field = reader.below(2)
    token = reader.rest().decode(errors="replace")
    try:
        if names_field:
            below = requests.revision_token(token)
            assert below is None or 0 <= below < 10**12
        else:
            run(_page(token))
    except HoldfastError as error:
        assert error.reason is Reason.INVALID_REQUEST
        assert error.metadata["field"] == "page_token"


async def _page(token: str) -> None:
    store = _Watched()
    await workflows.page(Log(store), "n", token, 3)
    for each in store.positions:
        assert len(each) < 500
        assert each.isascii()
        assert ".." not in each


class _Watched(MemoryStore):
    """A store that records where listings begin."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: list[str] = []

    async def list(self, prefix, *, start_after="", limit=1000):
        self.positions.append(start_after)
        return await super().list(prefix, start_after=start_after, limit=limit)
