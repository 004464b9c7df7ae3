"""A store that is cut off between two changes."""

from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.memory import MemoryStore


class CutStore(MemoryStore):
    """A store that fails all changes after the first `left`, as a crash would."""

    left = 10**9

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailableError("gone")

    async def put_if_absent(self, key, data):
        self._count()
        return await super().put_if_absent(key, data)

    async def replace(self, key, data):
        self._count()
        await super().replace(key, data)

    async def delete(self, key):
        self._count()
        await super().delete(key)
