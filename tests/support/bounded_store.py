"""An in-memory store that bounds the requests of an operation."""

from holdfast_server.stores.memory import MemoryStore

# Enough for a few markers, parts and foreign objects.
_MOST_REQUESTS = 1500


class TooManyRequestsError(AssertionError):
    """An operation made more requests than the objects in the store can explain."""


class BoundedStore(MemoryStore):
    """A store that counts requests and ends an operation that makes too many."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    def count(self) -> None:
        self.requests += 1
        if self.requests > _MOST_REQUESTS:
            raise TooManyRequestsError

    async def put_if_absent(self, key, data):
        self.count()
        return await super().put_if_absent(key, data)

    async def get(self, key, *, offset=0, length=None):
        self.count()
        return await super().get(key, offset=offset, length=length)

    async def replace(self, key, data):
        self.count()
        await super().replace(key, data)

    async def list(self, prefix, *, start_after="", limit=1000):
        self.count()
        return await super().list(prefix, start_after=start_after, limit=limit)

    async def delete(self, key):
        self.count()
        await super().delete(key)

    def age(self, seconds: float) -> None:
        for key, (data, modified) in self.objects.by_key.items():
            self.objects.by_key[key] = (data, modified - seconds)
